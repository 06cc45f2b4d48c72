//! Auth: which key a request carries, whose it is, and whether it may do this.

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use sha2::{Digest, Sha256};

use crate::accept::problem::{Code, Problem};
use crate::accept::{Door, Scope, Scopes};
use crate::message::TenantIx;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Principal {
    /// Whose data; `None`: an operator that named no tenant, who sees all.
    pub(crate) tenant: Option<TenantIx>,
    /// What it may do.
    pub(crate) scopes: Scopes,
}

impl Principal {
    /// Of a request that needs no key.
    pub(crate) fn nobody() -> Self {
        Self {
            tenant: None,
            scopes: Scopes::default(),
        }
    }

    /// The tenant that a message is to belong to.
    ///
    /// # Errors
    /// `tenant_mismatch` for an operator that named none.
    pub(crate) fn sending_tenant(&self) -> Result<TenantIx, Problem> {
        self.tenant.ok_or_else(|| {
            Problem::new(
                Code::TenantMismatch,
                "an operator key must name the tenant in Trunkline-Tenant",
            )
        })
    }
}

/// Finds out who asks and whether they have `scope`.
///
/// # Errors
/// `unauthenticated`, `insufficient_scope`, `tenant_mismatch`.
pub(crate) fn authenticate(
    door: &Door,
    headers: &HeaderMap,
    scope: Scope,
) -> Result<Principal, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Err(unauthenticated(
            "Authorization: Bearer <key> is missing",
            "",
        ));
    };
    // What stands between may have looked at the other one.
    if values.next().is_some() {
        let error = ", error=\"invalid_request\"";
        return Err(unauthenticated("Authorization must come once", error));
    }
    let secret = bearer(value.as_bytes())
        .ok_or_else(|| unauthenticated("Authorization must be Bearer <key>", ""))?;
    // Looking up a digest takes no time that depends on the secret in a way that a guesser can use:
    // they would have to choose digests, which SHA-256 does not let them.
    let digest: [u8; 32] = Sha256::digest(secret).into();
    let Some(key) = door.keys.get(&digest) else {
        let error = ", error=\"invalid_token\"";
        return Err(unauthenticated("the key is not known", error));
    };
    if !key.scopes.has(scope) {
        let name = scope.name();
        return Err(Problem::new(
            Code::InsufficientScope,
            format!("the key {} lacks the scope {name}", key.name),
        )
        .challenged(scope));
    }
    let mut names = headers.get_all("trunkline-tenant").iter();
    let named = match (names.next(), names.next()) {
        (None, _) => None,
        (Some(name), None) => Some(named_tenant(door, name.as_bytes())?),
        (Some(_), Some(_)) => {
            let detail = "Trunkline-Tenant must come once";
            return Err(Problem::new(Code::TenantMismatch, detail));
        }
    };
    match (key.tenant, named) {
        (Some(own), Some(other)) if own != other => Err(mismatch()),
        (own, named) => Ok(Principal {
            tenant: own.or(named),
            scopes: key.scopes,
        }),
    }
}

/// The name of the key that a request came with, for the audit.
pub(crate) fn key_name<'a>(door: &'a Door, headers: &HeaderMap) -> &'a str {
    let value = headers.get(AUTHORIZATION);
    let secret = value.and_then(|value| bearer(value.as_bytes()));
    let digest = secret.map(|secret| <[u8; 32]>::from(Sha256::digest(secret)));
    let key = digest.and_then(|digest| door.keys.get(&digest));
    key.map_or("", |key| &key.name)
}

/// The credential of a Bearer header; the scheme's case does not matter (RFC 9110 §11.1).
pub(crate) fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(7)?;
    let secret = rest.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !secret.is_empty()).then_some(secret)
}

fn named_tenant(door: &Door, name: &[u8]) -> Result<TenantIx, Problem> {
    let name = std::str::from_utf8(name).map_err(|_| mismatch())?;
    let known = door.names.tenant_ix(name);
    // A name that is in the store but not in the config any more has no rules to go by.
    known
        .filter(|ix| door.tenants.contains_key(ix))
        .ok_or_else(mismatch)
}

/// The same for a tenant that is another's and one that does not exist: nothing is learnt from it.
fn mismatch() -> Problem {
    Problem::new(
        Code::TenantMismatch,
        "the key is not of the tenant in Trunkline-Tenant",
    )
}

pub(crate) fn unauthenticated(detail: &'static str, error: &str) -> Problem {
    Problem::new(Code::Unauthenticated, detail).with_header(
        "www-authenticate",
        format!("Bearer realm=\"trunkline\"{error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accept::check::tests::door;

    fn ask(headers: &[(&'static str, &'static str)], scope: Scope) -> Result<Principal, Problem> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        authenticate(&door(), &map, scope)
    }

    #[test]
    fn a_tenants_key_is_its_tenants() {
        for scheme in ["Bearer crm-secret", "bearer  crm-secret "] {
            let principal = ask(&[("authorization", scheme)], Scope::MessagesWrite).unwrap();
            assert_eq!(principal.tenant, Some(TenantIx(0)));
        }
        let named = [
            ("authorization", "Bearer crm-secret"),
            ("trunkline-tenant", "acme"),
        ];
        assert!(ask(&named, Scope::MessagesWrite).is_ok());
        let other = [
            ("authorization", "Bearer crm-secret"),
            ("trunkline-tenant", "umbrella"),
        ];
        assert_eq!(
            ask(&other, Scope::MessagesWrite).unwrap_err().code,
            Code::TenantMismatch
        );
    }

    #[test]
    fn an_operator_may_name_a_tenant_and_must_to_send() {
        let key = ("authorization", "Bearer operator-secret");
        let all = ask(&[key], Scope::MessagesRead).unwrap();
        assert_eq!(all.tenant, None);
        assert_eq!(all.sending_tenant().unwrap_err().code, Code::TenantMismatch);
        let named = ask(&[key, ("trunkline-tenant", "acme")], Scope::MessagesRead).unwrap();
        assert_eq!(named.sending_tenant(), Ok(TenantIx(0)));
        let unknown = ask(&[key, ("trunkline-tenant", "nobody")], Scope::MessagesRead);
        assert_eq!(unknown.unwrap_err().code, Code::TenantMismatch);
    }

    #[test]
    fn without_a_known_key_the_answer_is_401_with_a_challenge() {
        for headers in [
            &[][..],
            &[("authorization", "Basic crm-secret")],
            &[("authorization", "Bearer ")],
            &[("authorization", "Bearer wrong")],
        ] {
            let problem = ask(headers, Scope::MessagesWrite).unwrap_err();
            assert_eq!(problem.code, Code::Unauthenticated);
            let (name, value) = *problem.header.unwrap();
            assert_eq!(name, "www-authenticate");
            assert!(value.starts_with("Bearer realm="));
        }
    }

    #[test]
    fn who_asks_is_said_once() {
        let key = ("authorization", "Bearer crm-secret");
        for other in ["Bearer crm-secret", "Bearer umbrella-secret", "Basic eA=="] {
            let twice = [key, ("authorization", other)];
            let problem = ask(&twice, Scope::MessagesWrite).unwrap_err();
            assert_eq!(problem.code, Code::Unauthenticated);
            assert!(problem.detail.contains("once"), "{}", problem.detail);
        }
        let tenant = ("trunkline-tenant", "acme");
        let problem = ask(&[key, tenant, tenant], Scope::MessagesWrite).unwrap_err();
        assert_eq!(problem.code, Code::TenantMismatch);
        assert!(problem.detail.contains("once"), "{}", problem.detail);
    }

    #[test]
    fn a_missing_scope_is_named() {
        let key = [("authorization", "Bearer crm-secret")];
        let problem = ask(&key, Scope::RoutesRead).unwrap_err();
        assert_eq!(problem.code, Code::InsufficientScope);
        assert!(problem.detail.contains("routes:read"), "{}", problem.detail);
    }
}
