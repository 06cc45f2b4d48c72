//! The gateway's config file, as a scenario needs it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

/// The tenant's key: everything that a tenant may do.
pub const KEY: &str = "test-key-0123456789-0123456789-0123456789";

/// An operator's key: sees every tenant.
pub const OPERATOR_KEY: &str = "operator-key-0123456789-0123456789-01234";

/// The key of a second tenant, for a scenario that declares one.
pub const OTHER_KEY: &str = "other-key-0123456789-0123456789-012345678";

/// The endpoints' secret: 24 octets.
pub const SECRET: &str = "whsec_dGVzdC10ZXN0LXRlc3QtdGVzdC10ZXN0";

/// The binds' password.
pub const PASSWORD: &str = "secret";

/// The environment that the config's references name.
pub const ENVIRONMENT: [(&str, &str); 5] = [
    ("TEST_KEY", KEY),
    ("TEST_OPERATOR_KEY", OPERATOR_KEY),
    ("TEST_OTHER_KEY", OTHER_KEY),
    ("TEST_PASSWORD", PASSWORD),
    ("TEST_SECRET", SECRET),
];

/// A gateway to start: tenant `acme`, its routes in failover order, its endpoints.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// In failover order.
    pub routes: Vec<Route>,
    /// Where events go.
    pub endpoints: Vec<Endpoint>,
    /// Lines of `[limits]`.
    pub limits: String,
    /// Further sections.
    pub sections: String,
}

/// A route.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name; also the system_id.
    pub name: String,
    /// Where it binds.
    pub hosts: Vec<SocketAddr>,
    /// binds_per_host.
    pub binds: u16,
    /// window.
    pub window: u16,
    /// Further lines, as `rate = "500/s"`.
    pub lines: String,
}

impl Route {
    /// One bind of window 10 to one host.
    #[must_use]
    pub fn new(name: &str, host: SocketAddr) -> Self {
        Self {
            name: name.to_owned(),
            hosts: vec![host],
            binds: 1,
            window: 10,
            lines: String::new(),
        }
    }

    /// With so many binds of such a window.
    #[must_use]
    pub fn binds(self, binds: u16, window: u16) -> Self {
        Self {
            binds,
            window,
            ..self
        }
    }

    /// With a further line.
    #[must_use]
    pub fn with(mut self, line: &str) -> Self {
        self.lines.push_str(line);
        self.lines.push('\n');
        self
    }
}

/// An endpoint of tenant `acme`.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its name.
    pub name: String,
    /// Where its receiver listens.
    pub addr: SocketAddr,
    /// Further lines, as `types = ["message.*"]`.
    pub lines: String,
}

impl Endpoint {
    /// One event per request, of the types that are on by default.
    #[must_use]
    pub fn new(name: &str, addr: SocketAddr) -> Self {
        Self {
            name: name.to_owned(),
            addr,
            lines: String::new(),
        }
    }

    /// With a further line.
    #[must_use]
    pub fn with(mut self, line: &str) -> Self {
        self.lines.push_str(line);
        self.lines.push('\n');
        self
    }
}

impl Setup {
    /// The file's text; the store is below `dir`.
    #[must_use]
    pub fn toml(&self, dir: &Path) -> String {
        let store = dir.join("store").display().to_string();
        let mut text = format!(
            r#"[server]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
[store]
path = {store:?}
[limits]
disk_reserve = "1MB"
{limits}
[webhook]
allow_http = true
allow_private = ["127.0.0.0/8"]
[[auth.keys]]
name = "test"
tenant = "acme"
scopes = ["messages:write", "messages:read", "messages:content", "messages:raw", "events:read", "routes:read", "routes:operate", "suppressions:read", "suppressions:write", "receipts:write"]
secret = {{ env = "TEST_KEY" }}
[[auth.keys]]
name = "operator"
scopes = ["messages:read", "events:read", "routes:read"]
secret = {{ env = "TEST_OPERATOR_KEY" }}
[tenants.acme]
senders = ["*"]
"#,
            limits = self.limits,
        );
        let mut write = |section: std::fmt::Arguments<'_>| {
            text.write_fmt(section)
                .expect("invariant: writing into a String cannot fail");
        };
        for route in &self.routes {
            let Route {
                name,
                binds,
                window,
                lines,
                ..
            } = route;
            let hosts: Vec<String> = route.hosts.iter().map(ToString::to_string).collect();
            write(format_args!(
                "[routes.{name}]\ntype = \"smpp\"\nhosts = {hosts:?}\nsystem_id = \"{name}\"\n\
                 password = {{ env = \"TEST_PASSWORD\" }}\nbinds_per_host = {binds}\n\
                 window = {window}\n{lines}"
            ));
        }
        if !self.routes.is_empty() {
            let names: Vec<&str> = self.routes.iter().map(|route| &*route.name).collect();
            write(format_args!(
                "[[routing.rules]]\nmatch = {{ channel = \"sms\" }}\nroutes = {names:?}\n"
            ));
        }
        for Endpoint { name, addr, lines } in &self.endpoints {
            write(format_args!(
                "[endpoints.{name}]\ntenant = \"acme\"\nurl = \"http://{addr}/hooks/{name}\"\n\
                 secret = {{ env = \"TEST_SECRET\" }}\n{lines}"
            ));
        }
        write(format_args!("{}", self.sections));
        text
    }
}
