//! Passed over: policy refuses a step, and the message goes on to another one of its plan.

use super::{LegState, Life, PartState, Then};
use crate::message::Parts;
use crate::outcome::{Reason, Retry};

impl Life {
    /// The parts of the step that it is at which nobody has and which somebody might have taken.
    pub(super) fn left_of_step(&self) -> Parts {
        let mut left = Parts::default();
        for leg in self.legs.iter().filter(|leg| leg.step == self.step) {
            let goes = |state| {
                !matches!(state, PartState::Unknown | PartState::Out)
                    && !self.is_settled(leg, state)
            };
            left.0 |= self.parts_where(leg.parts(), goes).0;
        }
        left
    }

    /// Nothing more of its step goes out. No try was made.
    pub(super) fn apply_passed_over(&mut self, parts: Parts, reason: Reason, then: Then) {
        self.reason = Some(reason);
        for part in parts.iter() {
            self.set_part(part, PartState::Refused(Retry::Never));
        }
        let over = self.step;
        for leg in self.legs.iter_mut().filter(|leg| leg.step == over) {
            leg.state = LegState::Ended;
        }
        if let Then::NextStep { step, order, .. } = then {
            self.open_step(step, order);
        }
    }
}
