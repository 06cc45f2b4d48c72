//! Scopes: what a key may do (contract.md §2 "Auth").

/// One permission. The variants stand in the contract's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "each variant is the contract's word, which `name` gives"
)]
pub enum Scope {
    MessagesWrite,
    MessagesRead,
    MessagesContent,
    MessagesCancel,
    MessagesRaw,
    ReceiptsWrite,
    EventsRead,
    EventsReplay,
    EndpointsRead,
    EndpointsWrite,
    RoutesRead,
    RoutesOperate,
    SuppressionsRead,
    SuppressionsWrite,
    ConsentsRead,
    ConsentsWrite,
    PolicyOverride,
    StatsRead,
    AuditRead,
    Admin,
}

impl Scope {
    /// All scopes and their words, in declaration order.
    pub const TABLE: [(Self, &'static str); 20] = [
        (Self::MessagesWrite, "messages:write"),
        (Self::MessagesRead, "messages:read"),
        (Self::MessagesContent, "messages:content"),
        (Self::MessagesCancel, "messages:cancel"),
        (Self::MessagesRaw, "messages:raw"),
        (Self::ReceiptsWrite, "receipts:write"),
        (Self::EventsRead, "events:read"),
        (Self::EventsReplay, "events:replay"),
        (Self::EndpointsRead, "endpoints:read"),
        (Self::EndpointsWrite, "endpoints:write"),
        (Self::RoutesRead, "routes:read"),
        (Self::RoutesOperate, "routes:operate"),
        (Self::SuppressionsRead, "suppressions:read"),
        (Self::SuppressionsWrite, "suppressions:write"),
        (Self::ConsentsRead, "consents:read"),
        (Self::ConsentsWrite, "consents:write"),
        (Self::PolicyOverride, "policy:override"),
        (Self::StatsRead, "stats:read"),
        (Self::AuditRead, "audit:read"),
        (Self::Admin, "admin"),
    ];

    /// The contract's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        // A test holds the table to the declaration order.
        Self::TABLE[self as usize].1
    }
}

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u32);

impl Scopes {
    /// Whether `scope` is among them.
    #[must_use]
    pub fn has(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u32) != 0
    }

    /// With `scope` added.
    #[must_use]
    pub fn with(self, scope: Scope) -> Self {
        Self(self.0 | 1 << scope as u32)
    }

    /// With what `word` names added: a scope, or all of a family as in `endpoints:*`. `None` when it
    /// names nothing.
    #[must_use]
    pub fn with_word(self, word: &str) -> Option<Self> {
        let family = word.strip_suffix('*').filter(|f| f.ends_with(':'));
        let mut named = Self::default();
        for (scope, name) in Scope::TABLE {
            if name == word || family.is_some_and(|family| name.starts_with(family)) {
                named = named.with(scope);
            }
        }
        (named != Self::default()).then_some(Self(self.0 | named.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_stands_in_declaration_order() {
        for (index, (scope, name)) in Scope::TABLE.into_iter().enumerate() {
            assert_eq!(scope as usize, index, "{name}");
            assert_eq!(scope.name(), name);
        }
    }

    #[test]
    fn words_name_one_scope_or_a_family() {
        let one = Scopes::default().with_word("messages:write").unwrap();
        assert!(one.has(Scope::MessagesWrite) && !one.has(Scope::MessagesRead));
        let family = one.with_word("endpoints:*").unwrap();
        assert!(family.has(Scope::EndpointsRead) && family.has(Scope::EndpointsWrite));
        assert!(family.has(Scope::MessagesWrite), "earlier ones stay");
        for bad in ["", "*", "messages", "message:write", "endpoints*"] {
            assert_eq!(Scopes::default().with_word(bad), None, "{bad}");
        }
    }
}
