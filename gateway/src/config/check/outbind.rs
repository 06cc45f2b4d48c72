//! Checks of `routes.*.outbind`: where a carrier may call us, and who it has to be.

use super::section::{Field, Section};
use super::{ITEMS_MAX, account, range};
use crate::config::Outbind;

/// A route's listener for outbind.
pub(super) fn read(section: &Section<'_>, tls: bool) -> Option<Outbind> {
    let field = section.opt("outbind")?;
    if tls {
        field.wrong("no outbind beside tls = true: what the carrier opens would not be TLS");
    }
    let section = field.section("routes.*.outbind")?;
    let expected =
        "a list of the CIDR ranges that the carrier calls from, such as \"203.0.113.0/24\"";
    let mut allow = Vec::new();
    if let Some(field) = section.need("allow", expected) {
        let items = field.list(ITEMS_MAX, expected);
        if items.is_empty() {
            field.wrong(expected);
        }
        allow.extend(items.iter().filter_map(|item: &Field<'_>| range(item)));
    }
    Some(Outbind {
        listen: super::listen(&section, "where the carrier connects to"),
        allow,
        system_id: account::system_id(&section),
        password: account::password(&section),
    })
}
