//! Withdrawn: parts that go out no more, because policy refuses them or their time is over, while links may
//! have others.

use super::{LegLife, LegState, Life, PartState, What};
use crate::message::Parts;
use crate::outcome::{Reason, Retry};

impl Life {
    /// These parts, and those of their legs that nobody has at the moment: they waited for these to be
    /// decided on, and go out no more than they do.
    #[must_use]
    pub fn with_idle(&self, parts: Parts) -> Parts {
        let mut all = Parts::default();
        for leg in &self.legs {
            if leg.parts().0 & parts.0 != 0 {
                let own = Parts(leg.parts().0 & parts.0);
                all.0 |= self
                    .parts_where(own, |state| !self.is_settled(leg, state))
                    .0;
                let idle = |state| {
                    matches!(state, PartState::Waiting | PartState::Refused(_))
                        && !self.is_settled(leg, state)
                };
                all.0 |= self.parts_where(leg.parts(), idle).0;
            }
        }
        all
    }

    /// Whether parts of a leg were withdrawn: nobody but the links has anything of it from there on.
    #[must_use]
    pub fn is_withdrawn(&self, leg: &LegLife) -> bool {
        self.log.iter().any(|change| {
            matches!(&change.what, What::Withdrawn { parts, .. } if leg.parts().0 & parts.0 != 0)
        })
    }

    /// Why parts of its step were withdrawn, if any were; a refusal by policy before the rest.
    pub(super) fn withdrawn(&self) -> Option<Reason> {
        let of_step = |parts: &Parts| {
            let leg = parts.iter().next().and_then(|part| self.leg_at(part));
            let leg = leg.and_then(|at| self.legs.get(usize::from(at)));
            leg.is_some_and(|leg| leg.step == self.step)
        };
        let reasons = self.log.iter().filter_map(|change| match &change.what {
            What::Withdrawn { parts, reason } if of_step(parts) => Some(*reason),
            _ => None,
        });
        reasons.max_by_key(|reason| *reason == Reason::Suppressed)
    }

    /// They go out no more, and their leg ends where nothing else of it comes.
    pub(super) fn apply_withdrawn(&mut self, parts: Parts, reason: Reason) {
        self.reason = Some(reason);
        for part in parts.iter() {
            self.set_part(part, PartState::Refused(Retry::Never));
        }
        let at = parts.iter().next().and_then(|part| self.leg_at(part));
        let Some((at, leg)) = at.and_then(|at| Some((at, *self.legs.get(usize::from(at))?))) else {
            return;
        };
        // What nobody knows of stays so: it is not tried again.
        let comes = |state| !self.is_settled(&leg, state) && state != PartState::Unknown;
        if self.parts_where(leg.parts(), comes).is_empty() {
            self.change_leg(at, |leg| leg.state = LegState::Ended);
        }
    }
}
