//! Names: what the store's small numbers for tenants, routes and endpoints stand for.

use crate::message::{EndpointIx, RouteIx, TenantIx};

/// The name tables. Built by the store when it opens, from what it has ever seen and what the config
/// names; a number never changes its meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// By [`TenantIx`].
    pub tenants: Vec<String>,
    /// By [`RouteIx`].
    pub routes: Vec<String>,
    /// By [`EndpointIx`].
    pub endpoints: Vec<String>,
}

impl Names {
    /// A tenant's name; `?` for the operator.
    #[must_use]
    pub fn tenant(&self, ix: TenantIx) -> &str {
        self.tenants
            .get(usize::from(ix.0))
            .map_or("?", String::as_str)
    }

    /// A route's name.
    #[must_use]
    pub fn route(&self, ix: RouteIx) -> &str {
        self.routes
            .get(usize::from(ix.0))
            .map_or("?", String::as_str)
    }

    /// An endpoint's name.
    #[must_use]
    pub fn endpoint(&self, ix: EndpointIx) -> &str {
        self.endpoints
            .get(usize::from(ix.0))
            .map_or("?", String::as_str)
    }

    /// A tenant's number.
    #[must_use]
    pub fn tenant_ix(&self, name: &str) -> Option<TenantIx> {
        position(&self.tenants, name).map(TenantIx)
    }

    /// A route's number.
    #[must_use]
    pub fn route_ix(&self, name: &str) -> Option<RouteIx> {
        position(&self.routes, name).map(RouteIx)
    }

    /// An endpoint's number.
    #[must_use]
    pub fn endpoint_ix(&self, name: &str) -> Option<EndpointIx> {
        position(&self.endpoints, name).map(EndpointIx)
    }
}

fn position(names: &[String], name: &str) -> Option<u16> {
    names
        .iter()
        .position(|known| known == name)
        .and_then(|index| u16::try_from(index).ok())
}
