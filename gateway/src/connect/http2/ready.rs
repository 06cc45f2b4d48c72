//! What of a connection is to be polled: a mark for each part of it, under one task.
//!
//! A thousand answers wait on one connection; polling all of them whenever one has come costs more than
//! they do. Each part has a waker that only notes its number; the task is woken once, and not at all while
//! it is at work anyway.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use parking_lot::Mutex;

/// The parts that each connection has; what follows are its requests' slots.
pub(super) const CONNECTION: usize = 0;
pub(super) const READ: usize = 1;
pub(super) const WRITE: usize = 2;
pub(super) const PONG: usize = 3;
pub(super) const TIMER: usize = 4;
pub(super) const SLOTS: usize = 5;

/// Shared by the marks.
#[derive(Debug, Default)]
struct Noted(Mutex<Notes>);

#[derive(Debug, Default)]
struct Notes {
    /// Bounded by the number of marks: each is in it once at most.
    marked: Vec<usize>,
    /// The task, unless it is at work.
    task: Option<Waker>,
}

/// One part's waker.
#[derive(Debug)]
struct Mark {
    part: usize,
    set: AtomicBool,
    noted: Arc<Noted>,
}

impl Wake for Mark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.set.swap(true, Ordering::AcqRel) {
            return;
        }
        let task = {
            let mut notes = self.noted.0.lock();
            notes.marked.push(self.part);
            notes.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// The marks of one connection.
#[derive(Debug, Default)]
pub(super) struct Ready {
    noted: Arc<Noted>,
    /// By part. Slots' marks are kept when a slot is free, so that a request allocates none.
    marks: Vec<(Arc<Mark>, Waker)>,
    /// Taken, and not looked at yet.
    taken: Vec<usize>,
}

impl Ready {
    /// The waker of a part.
    pub(super) fn waker(&mut self, part: usize) -> &Waker {
        while self.marks.len() <= part {
            let mark = Arc::new(Mark {
                part: self.marks.len(),
                set: AtomicBool::new(false),
                noted: self.noted.clone(),
            });
            self.marks.push((mark.clone(), Waker::from(mark)));
        }
        // The loop has made it.
        self.marks
            .get(part)
            .map_or(Waker::noop(), |(_, waker)| waker)
    }

    /// Marks a part by hand.
    pub(super) fn mark(&mut self, part: usize) {
        self.waker(part).wake_by_ref();
    }

    /// The task is at work: nothing wakes it.
    pub(super) fn works(&self) {
        self.noted.0.lock().task = None;
    }

    /// The task will rest: the next mark wakes it. What is marked already wakes it at once.
    pub(super) fn rests(&self, context: &Context<'_>) {
        let mut notes = self.noted.0.lock();
        if notes.marked.is_empty() {
            notes.task = Some(context.waker().clone());
        } else {
            drop(notes);
            context.waker().wake_by_ref();
        }
    }

    /// Takes the marks; they can be set again. To be given back to [`Ready::taken`].
    pub(super) fn take(&mut self) -> Vec<usize> {
        let mut taken = mem::take(&mut self.taken);
        taken.clear();
        mem::swap(&mut taken, &mut self.noted.0.lock().marked);
        for part in &taken {
            if let Some((mark, _)) = self.marks.get(*part) {
                mark.set.store(false, Ordering::Release);
            }
        }
        taken
    }

    /// Gives the list back, so that the next one needs no allocation.
    pub(super) fn give_back(&mut self, taken: Vec<usize>) {
        self.taken = taken;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn wakes_once_for_many_marks_and_never_while_at_work() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let context = Context::from_waker(&waker);
        let mut ready = Ready::default();
        ready.works();
        ready.mark(7);
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        ready.rests(&context);
        assert_eq!(
            count.0.load(Ordering::Relaxed),
            1,
            "marked before it rested"
        );
        assert_eq!(ready.take(), [7]);
        ready.rests(&context);
        for _ in 0..3 {
            ready.mark(READ);
            ready.mark(WRITE);
        }
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
        assert_eq!(ready.take(), [READ, WRITE]);
        assert!(ready.take().is_empty());
        ready.mark(READ);
        assert_eq!(ready.take(), [READ], "a mark can be set again");
    }
}
