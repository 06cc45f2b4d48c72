//! Limits: what keeps a route from sending now, and until when. Pure; time is an argument.

pub mod rate;
pub mod throttle;
pub mod window;
