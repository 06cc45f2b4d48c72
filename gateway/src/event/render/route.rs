//! Route: which one a message is told to have gone over, the same in events and views.

use crate::message::life::{Life, What};
use crate::message::{Channel, Message, Parts, RouteIx};

/// The route of the step that a life is at, with the provider's id for it.
///
/// Of an SMS: those of the last accepted part; the route of the last try where none was, or of its queue. Of a
/// push the route that all its devices went over, or go to: where there were several, each device tells its own,
/// as it does its provider's id.
#[must_use]
pub fn route_of<'l>(message: &Message, life: &'l Life) -> (Option<RouteIx>, &'l [u8]) {
    let legs = life.legs.iter().filter(|leg| leg.step == life.step);
    let parts = legs.fold(Parts::default(), |parts, leg| {
        Parts(parts.0 | leg.parts().0)
    });
    match message.channel(life.step) {
        Channel::Sms => match last_answer(life, parts) {
            Some((route, id)) => (Some(route), id),
            None => (life.route(message), &[]),
        },
        Channel::Push => (the_one(message, life, parts), &[]),
    }
}

fn last_answer(life: &Life, parts: Parts) -> Option<(RouteIx, &[u8])> {
    let mut refused = None;
    for change in life.log.iter().rev() {
        if let What::Answered {
            route,
            part,
            provider_id,
            ..
        } = &change.what
            && parts.has(*part)
        {
            if !provider_id.is_empty() {
                return Some((*route, provider_id));
            }
            refused = refused.or(Some((*route, &[][..])));
        }
    }
    refused
}

/// The only route of these parts.
fn the_one(message: &Message, life: &Life, parts: Parts) -> Option<RouteIx> {
    let answered = |part| {
        let changes = life.log.iter().rev();
        let mut routes = changes.filter_map(move |change| match change.what {
            What::Answered {
                route, part: own, ..
            } if own == part => Some(route),
            _ => None,
        });
        routes.next()
    };
    let route = |part| answered(part).or_else(|| life.route_of_part(message, part));
    let mut routes = parts.iter().filter_map(route);
    let first = routes.next()?;
    routes.all(|other| other == first).then_some(first)
}
