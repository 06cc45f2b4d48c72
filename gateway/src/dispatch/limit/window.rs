//! Window: how many attempts each link of a route has unanswered, and may have. Pure.
//!
//! A link takes what its peer allows, or less while the route is throttled: one cap for all links
//! is halved by each pause (multiplicative decrease) and grows again while all goes well.

use crate::link::LinkIx;

/// What a cap grows by in a clean second: one in so many of the widest window, and at least one slot.
/// Chosen: as the rate recovers, +2 %/s (smpp.md §3.4).
const GROWS_BY: usize = 50;

/// The windows of a route's links.
#[derive(Clone, Debug, Default)]
pub struct Windows {
    links: Vec<Link>,
    /// What each link may have out at most while the route is throttled.
    cap: Option<usize>,
    /// Where the search for the next link begins, so that links with equally little out take turns.
    next: usize,
}

#[derive(Clone, Debug, Default)]
struct Link {
    /// It may be up and take nothing for now.
    is_up: bool,
    window: usize,
    out: usize,
}

impl Windows {
    /// For so many links, all of them down.
    #[must_use]
    pub fn new(links: usize) -> Self {
        Self {
            links: vec![Link::default(); links],
            cap: None,
            next: 0,
        }
    }

    fn link(&mut self, link: LinkIx) -> Option<&mut Link> {
        self.links.get_mut(usize::from(link.0))
    }

    fn free_on(&self, link: &Link) -> usize {
        self.effective(link).saturating_sub(link.out)
    }

    fn effective(&self, link: &Link) -> usize {
        self.cap.map_or(link.window, |cap| link.window.min(cap))
    }

    fn widest(&self) -> usize {
        let windows = self.links.iter().map(|link| link.window);
        windows.max().unwrap_or_default()
    }

    /// The link is up, and takes `window` unanswered attempts from now on.
    pub fn up(&mut self, link: LinkIx, window: usize) {
        self.set(link, window);
        if let Some(link) = self.link(link) {
            link.is_up = true;
        }
    }

    /// The link takes `window` unanswered attempts from now on; 0: none for now.
    pub fn set(&mut self, link: LinkIx, window: usize) {
        if let Some(link) = self.link(link) {
            link.window = window;
        }
    }

    /// The link is not up any more.
    pub fn down(&mut self, link: LinkIx) {
        self.set(link, 0);
        if let Some(link) = self.link(link) {
            link.is_up = false;
        }
    }

    /// Halves what each link may have out, never below one. smpp.md §3.4.
    pub fn shrink(&mut self) {
        let widest = self.widest();
        if widest > 0 {
            let now = self.cap.map_or(widest, |cap| cap.min(widest));
            self.cap = Some((now / 2).max(1));
        }
    }

    /// A clean second has passed. Ends with the windows that the peer allows.
    pub fn grow(&mut self) {
        let widest = self.widest();
        let grown = self.cap.map(|cap| cap + (widest / GROWS_BY).max(1));
        // With all links down nothing is known of what is enough.
        self.cap = grown.filter(|cap| widest == 0 || *cap < widest);
    }

    /// Takes a slot on the link with the least out (smpp.md §3.1); links with the same take turns,
    /// because peers count rates by connection.
    pub fn take(&mut self) -> Option<LinkIx> {
        let count = self.links.len();
        let (before, after) = self.links.split_at(self.next.min(count));
        let in_turn = after.iter().chain(before).enumerate();
        let free = in_turn.filter(|(_, link)| self.free_on(link) > 0);
        let (turns, _) = free.min_by_key(|(_, link)| link.out)?;
        let index = (self.next + turns) % count;
        self.next = (index + 1) % count;
        self.links.get_mut(index)?.out += 1;
        u16::try_from(index).ok().map(LinkIx)
    }

    /// Frees a slot.
    pub fn free(&mut self, link: LinkIx) {
        if let Some(link) = self.link(link) {
            link.out = link.out.saturating_sub(1);
        }
    }

    /// Slots that could be taken now.
    #[must_use]
    pub fn free_slots(&self) -> usize {
        self.links.iter().map(|link| self.free_on(link)).sum()
    }

    /// Attempts out.
    #[must_use]
    pub fn out(&self) -> usize {
        self.links.iter().map(|link| link.out).sum()
    }

    /// Attempts out on one link.
    #[must_use]
    pub fn out_on(&self, link: LinkIx) -> usize {
        self.links
            .get(usize::from(link.0))
            .map_or(0, |link| link.out)
    }

    /// The windows of all links that are up, together, as their peers allow them.
    #[must_use]
    pub fn total(&self) -> usize {
        self.links.iter().map(|link| link.window).sum()
    }

    /// What all links that are up may have out now, together: at least one for each.
    #[must_use]
    pub fn total_now(&self) -> usize {
        self.links.iter().map(|link| self.effective(link)).sum()
    }

    /// Whether any link is up, also one that takes nothing for now.
    #[must_use]
    pub fn any_up(&self) -> bool {
        self.links.iter().any(|link| link.is_up)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn up(windows: &[usize]) -> Windows {
        let mut all = Windows::new(windows.len());
        for (index, window) in windows.iter().enumerate() {
            all.up(LinkIx(u16::try_from(index).unwrap()), *window);
        }
        all
    }

    #[test]
    fn links_with_the_least_out_take_turns() {
        let mut windows = up(&[10, 10, 0, 10]);
        let taken: Vec<u16> = (0..6).filter_map(|_| windows.take()).map(|l| l.0).collect();
        assert_eq!(taken, [0, 1, 3, 0, 1, 3]);
        // One that answers at once does not get everything.
        windows.free(LinkIx(3));
        windows.free(LinkIx(3));
        assert_eq!(windows.take(), Some(LinkIx(3)));
        assert_eq!(windows.take(), Some(LinkIx(3)));
        assert_eq!(windows.take(), Some(LinkIx(0)));
        // Alone in being answered each time, they still take turns.
        let mut quick = up(&[10, 10]);
        let mut served = [0; 2];
        for _ in 0..100 {
            let link = quick.take().unwrap();
            served[usize::from(link.0)] += 1;
            quick.free(link);
        }
        assert_eq!(served, [50, 50]);
    }

    #[test]
    fn windows_halve_to_one_and_grow_back_to_what_the_peer_allows() {
        let mut windows = up(&[10, 4]);
        let mut totals = Vec::new();
        for _ in 0..5 {
            windows.shrink();
            totals.push(windows.total_now());
        }
        assert_eq!(totals, [5 + 4, 2 + 2, 1 + 1, 1 + 1, 1 + 1]);
        assert_eq!(windows.total(), 14);
        // A link that reconnects does not forget it.
        windows.down(LinkIx(0));
        windows.up(LinkIx(0), 10);
        let mut seconds = 0;
        while windows.total_now() < windows.total() {
            windows.grow();
            seconds += 1;
        }
        assert_eq!(seconds, 9);
        let mut wide = up(&[1_000]);
        wide.shrink();
        (0..25).for_each(|_| wide.grow());
        assert_eq!(wide.total_now(), 1_000);
    }

    #[test]
    fn a_link_that_takes_nothing_for_now_is_up() {
        let mut windows = up(&[10, 10]);
        windows.set(LinkIx(0), 0);
        windows.down(LinkIx(1));
        assert!(windows.any_up());
        assert_eq!(windows.take(), None);
        windows.down(LinkIx(0));
        assert!(!windows.any_up());
    }

    proptest! {
        #[test]
        fn no_more_is_out_than_may_be_and_a_link_that_is_up_may_always_have_one(
            sizes in prop::collection::vec(0usize..20, 1..6),
            steps in prop::collection::vec(0u8..4, 0..200),
        ) {
            let mut windows = up(&sizes);
            let mut out = Vec::new();
            for step in steps {
                match step {
                    0 => windows.shrink(),
                    1 => windows.grow(),
                    2 => {
                        let free = windows.free_slots();
                        let taken = windows.take();
                        prop_assert_eq!(taken.is_some(), free > 0);
                        out.extend(taken);
                    }
                    _ => if let Some(link) = out.pop() { windows.free(link) },
                }
                for (index, size) in sizes.iter().enumerate() {
                    let link = LinkIx(u16::try_from(index).unwrap());
                    prop_assert!(windows.out_on(link) <= *size);
                }
                let alive = sizes.iter().filter(|size| **size > 0).count();
                prop_assert!((alive..=windows.total()).contains(&windows.total_now()));
                prop_assert_eq!(windows.out(), out.len());
            }
        }
    }
}
