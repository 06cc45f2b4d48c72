//! A table of mistakes: what is changed in a good config, and what is said about it.

use super::*;

/// A good config; each mistake replaces one piece of it.
const GOOD: &str = r#"
[server]
listen = "127.0.0.1:8443"
[store]
path = "data"
retention = { messages = "30d" }
[[auth.keys]]
name = "crm"
tenant = "acme"
scopes = ["messages:write"]
secret = { env = "TRUNKLINE_KEY_CRM" }
[tenants.acme]
senders = ["ACME"]
ingress_rate = "5000/s"
[routes.carrier-a]
type = "smpp"
hosts = ["smsc1.a.example:3550"]
system_id = "acme"
password = { env = "CARRIER_A_PASSWORD" }
bind = "transceiver"
window = 50
rate = "400/s"
receipts = { id_format = "auto" }
[[routing.rules]]
match = { channel = "sms" }
routes = ["carrier-a"]
strategy = "priority"
[endpoints.crm]
tenant = "acme"
url = "https://crm.example/hooks"
secret = { env = "CRM_WEBHOOK_SECRET" }
types = ["message.*"]
batch = { max_events = 500 }
"#;

/// Piece of [`GOOD`], what stands there instead, and the one problem.
const MISTAKES: &[(&str, &str, &str)] = &[
    (
        "window = 50",
        "window = 0",
        "c.toml:21 routes.carrier-a.window = 0: expected 1..=1000, the carrier's allowed unanswered submit_sm",
    ),
    (
        "window = 50",
        "window = \"50\"",
        "c.toml:21 routes.carrier-a.window = \"50\": expected 1..=1000,",
    ),
    (
        "window = 50",
        "window = 99_999_999_999_999_999_999",
        "c.toml:21 routes.carrier-a.window = 99_999",
    ),
    (
        "window = 50",
        "throttle = { pause = \"5s\", pause_max = \"1s\" }",
        "routes.carrier-a.throttle.pause = \"5s\": expected at most pause_max",
    ),
    (
        "window = 50",
        "throttle = { pause = 1 }",
        "routes.carrier-a.throttle.pause = 1: expected a duration",
    ),
    (
        "window = 50",
        "statuses = [{ status = 0, class = \"never\" }]",
        "routes.carrier-a.statuses[0].status = 0: expected 1..=4294967295, a command_status",
    ),
    (
        "window = 50",
        "statuses = [{ status = 0x45, class = \"throtle\" }]",
        "(did you mean \"throttle\"?)",
    ),
    (
        "window = 50",
        "statuses = [{ status = 0x45, class = \"retry\" }, { status = 69, text = \"x\", class = \"never\" }]",
        "routes.carrier-a.statuses[1].status = 69: expected a status that no rule before this one covers",
    ),
    (
        "window = 50",
        "statuses = [{ status = 0x45, class = \"retry\", alarm = 1 }]",
        "routes.carrier-a.statuses[0].alarm = 1: expected true or false, whether an operator has to look",
    ),
    (
        "window = 50",
        "statuses = [{ class = \"retry\" }]",
        "routes.carrier-a.statuses[0].status: missing",
    ),
    (
        "window = 50",
        "windw = 50",
        "c.toml:21 routes.carrier-a.windw: unknown key, expected one of type, hosts,",
    ),
    ("window = 50", "windw = 50", "(did you mean \"window\"?)"),
    (
        "window = 50",
        "binds_per_host = 65",
        "routes.carrier-a.binds_per_host = 65: expected 1..=64,",
    ),
    (
        "window = 50",
        "version = \"3.5\"",
        "routes.carrier-a.version = \"3.5\": expected \"3.3\" or \"3.4\" or \"5.0\"",
    ),
    (
        "window = 50",
        "enquire_link = 30",
        "routes.carrier-a.enquire_link = 30: expected a duration such as",
    ),
    (
        "window = 50",
        "enquire_link = \"2h\"",
        "from 1s to 1h, the silence after which a link is asked",
    ),
    (
        "window = 50",
        "response_timeout = \"0s\"",
        "routes.carrier-a.response_timeout = \"0s\": expected a duration",
    ),
    (
        "window = 50",
        "breaker = {}",
        "routes.carrier-a.breaker: known to the contract, not available in this version",
    ),
    (
        "window = 50",
        "breaker = { error_rate = 0.5 }",
        "routes.carrier-a.breaker: known to the contract",
    ),
    (
        "window = 50",
        "charset = { national = [\"turkisch\"] }",
        "routes.carrier-a.charset.national[0] = \"turkisch\": expected ",
    ),
    (
        "window = 50",
        "charset = { default = \"latin1\", national = [\"turkish\"] }",
        "expected no languages, or default = \"gsm7-unpacked\" or \"gsm7-packed\"",
    ),
    (
        "window = 50",
        "long_messages = \"sar\"\ncharset = { national = [\"turkish\"] }",
        "expected no languages, or long_messages = \"udh8\" or \"udh16\"",
    ),
    (
        "window = 50",
        "charset = { national = [\"turkish\", \"turkish\"] }",
        "routes.carrier-a.charset.national[1] = \"turkish\": expected a list of languages, each once",
    ),
    (
        "window = 50",
        "retry_status = \"0x66\"",
        "routes.carrier-a.retry_status = \"0x66\": expected a status on which the carrier sends again",
    ),
    (
        "window = 50",
        "retry_status = \"0x0\"",
        "routes.carrier-a.retry_status = \"0x0\": expected a status on which the carrier sends again",
    ),
    (
        "window = 50",
        "retry_status = \"0x+8\"",
        "routes.carrier-a.retry_status = \"0x+8\": expected a status on which the carrier sends again",
    ),
    (
        "window = 50",
        "charset = { ia5 = \"gsm7\" }",
        "routes.carrier-a.charset.ia5 = \"gsm7\": expected \"ascii\" or \"default\"",
    ),
    (
        "window = 50",
        "charset = { ucs2 = \"LE\" }",
        "routes.carrier-a.charset.ucs2 = \"LE\": expected \"be\" or \"le\"",
    ),
    (
        "window = 50",
        "charset = { latin1 = 3 }",
        "routes.carrier-a.charset.latin1 = 3: expected true or false, whether the carrier delivers all of Latin-1",
    ),
    (
        "window = 50",
        "charset = { flash = \"f1\" }",
        "routes.carrier-a.charset.flash = \"f1\": expected \"f0\" or \"10\" or \"18\" or \"tlv\"",
    ),
    (
        "window = 50",
        "long_messages = \"udh\"",
        "routes.carrier-a.long_messages = \"udh\": expected \"udh8\" or \"udh16\" or \"sar\" or \"payload\"",
    ),
    (
        "window = 50",
        "charset = { default = \"ucs2\" }",
        "routes.carrier-a.charset.default = \"ucs2\": known to the contract, not available in this version; expected \"gsm7-unpacked\" or \"gsm7-packed\" or \"latin1\" or \"ascii\" or \"utf8\"",
    ),
    (
        "window = 50",
        "tls = \"yes\"",
        "routes.carrier-a.tls = \"yes\": expected true or false, whether the links are TLS",
    ),
    (
        "window = 50",
        "tls_server_name = \"a.example\"",
        "expected this key only with tls = true",
    ),
    (
        "window = 50",
        "source_ton = 7",
        "routes.carrier-a.source_ton = 7: expected 0..=6,",
    ),
    (
        "window = 50",
        "max_validity = \"1s\"",
        "routes.carrier-a.max_validity = \"1s\": expected a duration",
    ),
    (
        "bind = \"transceiver\"",
        "bind = \"tx+rx\"\nversion = \"3.3\"\nlong_messages = \"sar\"",
        "routes.carrier-a.long_messages = \"sar\": expected version = \"3.4\" or \"5.0\": SMPP 3.3 has no TLVs",
    ),
    (
        "bind = \"transceiver\"",
        "bind = \"tx+rx\"\nversion = \"3.3\"\nlong_messages = \"payload\"",
        "routes.carrier-a.long_messages = \"payload\": expected version = \"3.4\" or \"5.0\": SMPP 3.3 has no TLVs",
    ),
    (
        "bind = \"transceiver\"",
        "bind = \"tx+rx\"\nversion = \"3.3\"\ncharset = { flash = \"tlv\" }",
        "routes.carrier-a.charset.flash = \"tlv\": expected version = \"3.4\" or \"5.0\": SMPP 3.3 has no TLVs",
    ),
    (
        "window = 50",
        "validity = \"never\"",
        "routes.carrier-a.validity = \"never\": expected \"relative\" or \"absolute\" or \"none\"",
    ),
    (
        "window = 50",
        "validity = \"none\"\nmax_validity = \"24h\"",
        "routes.carrier-a.max_validity = \"24h\": expected no max_validity beside validity = \"none\"",
    ),
    (
        "window = 50",
        "tls_pins = [\"sha256/AAAA\"]",
        "routes.carrier-a.tls_pins = a list: expected this key only with tls = true",
    ),
    (
        "window = 50",
        "tls = true\ntls_pins = [\"sha256/AAAA\"]",
        "c.toml:22 routes.carrier-a.tls_pins[0] = \"sha256/AAAA\": expected \"sha256/\" and the base64 of a SHA-256",
    ),
    (
        "window = 50",
        "tls = true\ntls_client = { cert = \"Cargo.toml\" }",
        "routes.carrier-a.tls_client.key: missing, expected { file = \"PATH\" } of the PEM private key",
    ),
    (
        "window = 50",
        "source_address = \"0.0.0.0\"",
        "routes.carrier-a.source_address = \"0.0.0.0\": expected an IP address of this machine",
    ),
    (
        "hosts = [\"smsc1.a.example:3550\"]",
        "hosts = [\"[2001:db8::1]:3550\"]\nsource_address = \"10.0.0.5\"",
        "([2001:db8::1]:3550 is of the other)",
    ),
    (
        "window = 50",
        "outbind = { listen = \"127.0.0.1:2776\", allow = [], system_id = \"smsc\", password = { env = \"CARRIER_A_PASSWORD\" } }",
        "routes.carrier-a.outbind.allow = a list: expected a list of the CIDR ranges that the carrier calls from",
    ),
    (
        "window = 50",
        "outbind = { listen = \"2776\", allow = [\"10.0.0.0/8\"], system_id = \"smsc\", password = { env = \"CARRIER_A_PASSWORD\" } }",
        "routes.carrier-a.outbind.listen = \"2776\": expected",
    ),
    (
        "window = 50",
        "tls = true\noutbind = { listen = \"127.0.0.1:2776\", allow = [\"10.0.0.0/8\"], system_id = \"smsc\", password = { env = \"CARRIER_A_PASSWORD\" } }",
        "expected no outbind beside tls = true",
    ),
    (
        "window = 50",
        "tcp_user_timeout = \"0s\"",
        "routes.carrier-a.tcp_user_timeout = \"0s\": expected a duration",
    ),
    (
        "bind = \"transceiver\"",
        "bind = \"receiver\"",
        "c.toml:26 routing.rules[0].routes[0] = \"carrier-a\": expected a route that sends: this one has bind = \"receiver\"",
    ),
    (
        "bind = \"transceiver\"",
        "bind = \"tranceiver\"",
        "(did you mean \"transceiver\"?)",
    ),
    (
        "bind = \"transceiver\"",
        "bind = \"transmitter\"",
        "a transmitter gets no receipts",
    ),
    (
        "type = \"smpp\"",
        "type = \"rcs\"",
        "c.toml:16 routes.carrier-a.type = \"rcs\": known to the contract",
    ),
    (
        "type = \"smpp\"\n",
        "",
        "c.toml:15 routes.carrier-a.type: missing, expected \"smpp\"",
    ),
    (
        "hosts = [\"smsc1.a.example:3550\"]",
        "hosts = [\"smsc1.a.example\"]",
        "routes.carrier-a.hosts[0] = \"smsc1.a.example\": expected \"host:port\" with a port from 1 to 65535",
    ),
    (
        "hosts = [\"smsc1.a.example:3550\"]",
        "hosts = [\"a:0\"]",
        "hosts[0] = \"a:0\": expected \"host:port\"",
    ),
    (
        "hosts = [\"smsc1.a.example:3550\"]",
        "hosts = []",
        "routes.carrier-a.hosts = a list: expected a list of 1 to 16",
    ),
    (
        "hosts = [\"smsc1.a.example:3550\"]",
        "hosts = [\"a:1\", \"a:1\"]",
        "hosts[1] = \"a:1\": expected each host once",
    ),
    (
        "system_id = \"acme\"",
        "system_id = \"åcme\"",
        "system_id = \"åcme\": expected 1 to 64 ASCII characters; 15 by SMPP v3.4 §5.2.1",
    ),
    (
        "window = 50",
        "service_type = \"a\\u0000b\"",
        "expected 0 to 64 ASCII characters; 5 by SMPP v3.4 §5.2.11",
    ),
    (
        "window = 50",
        "addr_npi = 19",
        "routes.carrier-a.addr_npi = 19: expected 0..=18,",
    ),
    (
        "window = 50",
        "max_source = 65",
        "routes.carrier-a.max_source = 65: expected 20..=64, the longest sender that the carrier takes",
    ),
    (
        "password = { env = \"CARRIER_A_PASSWORD\" }",
        "password = { env = \"NOT_SET\" }",
        "c.toml:19 routes.carrier-a.password.env: expected 1 to 64 ASCII characters; 8 by SMPP v3.4 §5.2.2 (environment variable NOT_SET is not set)",
    ),
    (
        "password = { env = \"CARRIER_A_PASSWORD\" }",
        "password = { file = \"/nonexistent/p\" }",
        "routes.carrier-a.password.file: expected 1 to 64 ASCII characters; 8 by SMPP v3.4 §5.2.2 (/nonexistent/p: No such file",
    ),
    (
        "password = { env = \"CARRIER_A_PASSWORD\" }",
        "password = { file = \"keys/gone.secret\" }",
        concat!(
            "8 by SMPP v3.4 §5.2.2 (",
            env!("CARGO_MANIFEST_DIR"),
            "/keys/gone.secret: No such file"
        ),
    ),
    (
        "password = { env = \"CARRIER_A_PASSWORD\" }",
        "password = { file = \"./gone/p\" }",
        concat!("(", env!("CARGO_MANIFEST_DIR"), "/gone/p: No such file"),
    ),
    (
        "password = { env = \"CARRIER_A_PASSWORD\" }",
        "password = { file = \"Hun/ter.2\" }",
        concat!(
            "(the file named here, in ",
            env!("CARGO_MANIFEST_DIR"),
            ": No such file"
        ),
    ),
    (
        "password = { env = \"CARRIER_A_PASSWORD\" }",
        "password = \"hunter2\"",
        "routes.carrier-a.password: expected { env = \"NAME\" } or { file = \"PATH\" } of 1 to 64",
    ),
    (
        "rate = \"400/s\"",
        "rate = \"400\"",
        "routes.carrier-a.rate = \"400\": expected a rate such as \"400/s\" or \"400/s, burst 800\"",
    ),
    (
        "rate = \"400/s\"",
        "rate = \"0/s\"",
        "routes.carrier-a.rate = \"0/s\": expected a rate",
    ),
    (
        "rate = \"400/s\"",
        "rate = \"4/week\"",
        "routes.carrier-a.rate = \"4/week\": expected a rate",
    ),
    (
        "{ id_format = \"auto\" }",
        "{ id_format = \"hex\" }",
        "receipts.id_format = \"hex\": expected \"auto\" or \"same\"",
    ),
    (
        "{ id_format = \"auto\" }",
        "{ id_transform = { first = 0 } }",
        "receipts.id_transform.first = 0: expected",
    ),
    (
        "{ id_format = \"auto\" }",
        "{ id_transform = {} }",
        "receipts.id_transform = a table: expected at least one of strip_prefix",
    ),
    (
        "{ id_format = \"auto\" }",
        "{ format = \"{stat},{what}\" }",
        "(no field has this name (character 9))",
    ),
    (
        "{ id_format = \"auto\" }",
        "{ utc_offset = \"+5\" }",
        "receipts.utc_offset = \"+5\": expected what the carrier's clock is ahead of UTC",
    ),
    (
        "{ id_format = \"auto\" }",
        "{ parts = \"frist\" }",
        "(did you mean \"first\"?)",
    ),
    (
        "receipts = { id_format = \"auto\" }",
        "error_map = \"twillio\"",
        "(did you mean \"twilio\"?)",
    ),
    (
        "receipts = { id_format = \"auto\" }",
        "error_map = \"maps/nowhere.toml\"",
        "routes.carrier-a.error_map = \"maps/nowhere.toml\": expected one of 8x8,",
    ),
    (
        "receipts = { id_format = \"auto\" }",
        "error_map = \"src/lib.rs\"",
        "expected a map without mistakes",
    ),
    (
        "{ id_format = \"auto\" }",
        "{ timeout = \"1s\" }",
        "receipts.timeout = \"1s\": expected a duration",
    ),
    (
        "{ id_format = \"auto\" }",
        "{ enabeld = true }",
        "receipts.enabeld: unknown key, expected one of enabled, timeout, id_format, id_transform, format, by_text, without_id, prefer_text, utc_offset, accepted_is_final, unknown_is_final, ask, parts (did you mean \"enabled\"?)",
    ),
    (
        "routes = [\"carrier-a\"]",
        "routes = [\"carier-a\"]",
        "c.toml:26 routing.rules[0].routes[0] = \"carier-a\": expected the name of one of [routes.*] (did you mean \"carrier-a\"?)",
    ),
    (
        "routes = [\"carrier-a\"]",
        "routes = []",
        "routing.rules[0].routes = a list: expected a list of route names",
    ),
    (
        "routes = [\"carrier-a\"]",
        "routes = [\"carrier-a\", \"carrier-a\"]",
        "expected each route once in a rule (carrier-a)",
    ),
    (
        "routes = [\"carrier-a\"]",
        "routes = [{ name = \"carrier-a\", weight = 1 }]",
        "routing.rules[0].routes[0].weight = 1: expected no weight under strategy \"priority\"",
    ),
    (
        "strategy = \"priority\"",
        "strategy = \"weighted\"",
        "routing.rules[0].routes[0] = \"carrier-a\": expected { name = \"ROUTE\", weight = N }",
    ),
    (
        "strategy = \"priority\"",
        "strategy = \"least_cost\"",
        "c.toml:27 routing.rules[0].strategy = \"least_cost\": known to the contract, not available",
    ),
    (
        "match = { channel = \"sms\" }",
        "match = { channel = \"rcs\" }",
        "match.channel = \"rcs\": known to the contract",
    ),
    (
        "match = { channel = \"sms\" }",
        "match = { class = [\"opt\"] }",
        "match.class[0] = \"opt\": expected \"otp\" or",
    ),
    (
        "match = { channel = \"sms\" }\nroutes = [\"carrier-a\"]",
        "match = { channel = \"push\" }\nroutes = [\"carrier-a\"]",
        "c.toml:26 routing.rules[0].routes[0] = \"carrier-a\": expected a route to APNs or FCM: under",
    ),
    (
        "match = { channel = \"sms\" }",
        "match = { country = [\"Sweden\"] }",
        "match.country[0] = \"Sweden\": expected an ISO 3166",
    ),
    (
        "match = { channel = \"sms\" }",
        "match = { prefix = [\"0046\"] }",
        "match.prefix[0] = \"0046\": expected a number prefix",
    ),
    (
        "match = { channel = \"sms\" }",
        "match = { tenant = [\"acne\"] }",
        "match.tenant[0] = \"acne\": expected the name of one of [tenants.*] (did you mean \"acme\"?)",
    ),
    (
        "match = { channel = \"sms\" }\n",
        "",
        "c.toml:24 routing.rules[0].match: missing, expected a table of conditions",
    ),
    (
        "name = \"crm\"",
        "name = \"c r m\"",
        "auth.keys[0].name = \"c r m\": expected a name of 1 to 64",
    ),
    (
        "scopes = [\"messages:write\"]",
        "scopes = [\"message:write\"]",
        "(did you mean \"messages:write\"?)",
    ),
    (
        "scopes = [\"messages:write\"]",
        "scopes = []",
        "auth.keys[0].scopes = a list: expected a list of scopes",
    ),
    (
        "secret = { env = \"TRUNKLINE_KEY_CRM\" }",
        "secret = { env = \"SHORT\" }",
        "c.toml:11 auth.keys[0].secret: expected 32 to 512 printable characters",
    ),
    (
        "tenant = \"acme\"\nscopes",
        "tenant = \"umbrella\"\nscopes",
        "c.toml:9 auth.keys[0].tenant = \"umbrella\": expected the name of one of [tenants.*] (declare it as [tenants.umbrella])",
    ),
    (
        "tenant = \"acme\"\nurl",
        "tenant = \"umbrella\"\nurl",
        "endpoints.crm.tenant = \"umbrella\": expected the name",
    ),
    (
        "senders = [\"ACME\"]",
        "senders = [\"pool:se\"]",
        "tenants.acme.senders[0] = \"pool:se\": known to the contract",
    ),
    (
        "senders = [\"ACME\"]",
        "senders = [\"twenty-one-characters\"]",
        "expected a sender of 1 to 20",
    ),
    (
        "senders = [\"ACME\"]\n",
        "",
        "c.toml:12 tenants.acme.senders: missing, expected a list of senders",
    ),
    (
        "ingress_rate = \"5000/s\"",
        "quiet_hours = { from = \"21:00\" }",
        "tenants.acme.quiet_hours: known to the contract",
    ),
    (
        "https://crm",
        "http://crm",
        "c.toml:30 endpoints.crm.url = \"http://crm.example/hooks\": expected an https url without user, password or fragment (webhook.allow_http = true",
    ),
    (
        "https://crm.example",
        "https://10.0.0.1",
        "expected a public host (webhook.allow_private = [\"10.0.0.1\"] permits it)",
    ),
    (
        "https://crm.example",
        "https://localhost",
        "expected a public host (webhook.allow_private",
    ),
    (
        "https://crm.example",
        "https://[::1]",
        "expected a public host (webhook.allow_private = [\"::1\"]",
    ),
    (
        "https://crm.example",
        "https://u:hunter2@crm.example",
        "endpoints.crm.url = \"https://…@crm.example/hooks\": expected an https url",
    ),
    (
        "https://crm.example",
        "crm.example",
        "endpoints.crm.url = \"crm.example/hooks\": expected an https url",
    ),
    (
        "secret = { env = \"CRM_WEBHOOK_SECRET\" }",
        "secret = { env = \"SHORT\" }",
        "endpoints.crm.secret: expected \"whsec_\" and the base64 of 24 to 64 octets",
    ),
    (
        "types = [\"message.*\"]",
        "types = [\"message.snet\"]",
        "(did you mean \"message.sent\"?)",
    ),
    (
        "types = [\"message.*\"]",
        "types = []",
        "endpoints.crm.types = a list: expected a list of event types",
    ),
    (
        "types = [\"message.*\"]",
        "types = [\"message.*\", \"route.*\"]",
        "endpoints.crm.types[1] = \"route.*\": known to the contract, not available in this version; expected \
         types of delivery.*, device.*, ",
    ),
    (
        "types = [\"message.*\"]",
        "types = [\"attempt.*\"]",
        "endpoints.crm.types[0] = \"attempt.*\": expected types of high volume by their names (by name: \
         attempt.failed)",
    ),
    (
        "types = [\"message.*\"]",
        "format = \"cloudevents\"",
        "endpoints.crm.format = \"cloudevents\": known to the contract",
    ),
    (
        "types = [\"message.*\"]",
        "payload = \"thin\"",
        "endpoints.crm.payload = \"thin\": known to the contract",
    ),
    (
        "types = [\"message.*\"]",
        "ordering = \"per_message\"",
        "endpoints.crm.ordering: known to the contract",
    ),
    (
        "types = [\"message.*\"]",
        "headers = { Host = \"x\" }",
        "endpoints.crm.headers.Host: expected a header that",
    ),
    (
        "max_events = 500",
        "max_events = 1001",
        "batch.max_events = 1001: expected 1..=1000, events in one request",
    ),
    (
        "max_events = 500",
        "max_wait_ms = 5001",
        "batch.max_wait_ms = 5001: expected 1..=5000,",
    ),
    (
        "max_events = 500",
        "max_bytes = \"2MiB\"",
        "batch.max_bytes = \"2MiB\": expected a size such as",
    ),
    (
        "listen = \"127.0.0.1:8443\"",
        "listen = \"8443\"",
        "c.toml:3 server.listen = \"8443\": expected an address and port such as \"127.0.0.1:8443\"",
    ),
    (
        "listen = \"127.0.0.1:8443\"",
        "listen = \"127.0.0.1:9090\"",
        "c.toml:3 server.listen = \"127.0.0.1:9090\": expected another address",
    ),
    (
        "listen = \"127.0.0.1:8443\"",
        "client_ca = \"x\"",
        "server.client_ca: known to the contract, not available",
    ),
    (
        "listen = \"127.0.0.1:8443\"",
        "tls = { cert = \"/nonexistent\", key = { file = \"Cargo.toml\" } }",
        "server.tls.cert = \"/nonexistent\": expected a readable file, the PEM certificate chain (No such file",
    ),
    (
        "listen = \"127.0.0.1:8443\"",
        "tls = { cert = \"Cargo.toml\", key = \"/x\" }",
        "server.tls.key: expected { file = \"PATH\" } of the PEM private key",
    ),
    (
        "path = \"data\"",
        "path = \"\"",
        "store.path = \"\": expected the path of the data directory",
    ),
    (
        "path = \"data\"",
        "durability = \"fsync-each\"",
        "store.durability = \"fsync-each\": known to the contract",
    ),
    (
        "messages = \"30d\"",
        "messages = \"1d\"",
        "c.toml:6 store.retention.messages = \"1d\": expected at least retention.events (an event",
    ),
    (
        "messages = \"30d\"",
        "events = \"31d\"",
        "c.toml:6 store.retention.events = \"31d\": expected at most retention.messages (an event",
    ),
    (
        "messages = \"30d\"",
        "messages = \"12h\", content = \"1h\", events = \"1h\"",
        "c.toml:6 store.retention.messages = \"12h\": expected at least retention.idempotency (a key answers with its message",
    ),
    (
        "messages = \"30d\"",
        "messages = \"3d\", content = \"1h\", events = \"1h\", idempotency = \"4d\"",
        "c.toml:6 store.retention.idempotency = \"4d\": expected at most retention.messages (a key",
    ),
    (
        "messages = \"30d\"",
        "messages = \"for ever\"",
        "store.retention.messages = \"for ever\": expected a duration such as",
    ),
    (
        "messages = \"30d\"",
        "messages = \"30m\"",
        "store.retention.messages = \"30m\": expected a duration such as",
    ),
    (
        "messages = \"30d\"",
        "messages = \"30d\", content = \"11y\"",
        "store.retention.content = \"11y\": expected a duration such as",
    ),
    (
        "messages = \"30d\"",
        "idempotency = \"8d\"",
        "store.retention.idempotency = \"8d\": expected a duration such as",
    ),
    (
        "types = [\"message.*\"]",
        "rate = \"0.5/s\"",
        "endpoints.crm.rate = \"0.5/s\": expected a rate such as \"400/s\"",
    ),
    (
        "[server]",
        "[pools.se]\n[server]",
        "c.toml:2 pools: known to the contract, not available in this version",
    ),
    (
        "[server]",
        "[inbound]\ndefault_endpoint = \"crn\"\n[server]",
        "c.toml:3 inbound.default_endpoint = \"crn\": expected the name of one of [endpoints.*]",
    ),
    (
        "[server]",
        "[inbound]\ndefault_endpoint = \"crm\"\n[server]",
        "c.toml:3 inbound.default_endpoint = \"crm\": expected an endpoint whose types have \"inbound.received\"",
    ),
    (
        "[server]",
        "[inbound]\nreassembly_timeout = \"1ms\"\n[server]",
        "c.toml:3 inbound.reassembly_timeout = \"1ms\": expected a duration such as",
    ),
    (
        "[server]",
        "[inbound.replies]\nopt_out = \"Stop!\"\n[server]",
        "c.toml:3 inbound.replies.opt_out = \"Stop!\": expected a text of 1 to 320 characters that is no keyword",
    ),
    (
        "[server]",
        "[inbound.numbers.71234]\n[server]",
        "inbound.numbers.71234.tenant: missing, expected the name of one of [tenants.*], or an endpoint",
    ),
    (
        "[server]",
        "[inbound.numbers.71234]\ntenant = \"acne\"\n[server]",
        "inbound.numbers.71234.tenant = \"acne\": expected the name of one of [tenants.*]",
    ),
    (
        "[server]",
        "[auth.oauth]\n[server]",
        "auth.oauth: known to the contract",
    ),
    (
        "[server]",
        "[limit]\n[server]",
        "c.toml:2 limit: unknown key, expected one of server,",
    ),
    (
        "[server]",
        "[limits]\nmemory = \"1MB\"\n[server]",
        "limits.memory = \"1MB\": expected a size such as \"256MB\"",
    ),
    (
        "[server]",
        "[limits]\nbatch_items = 10_001\n[server]",
        "limits.batch_items = 10_001: expected 1..=10000",
    ),
    (
        "[server]",
        "[lanes]\notp = 0\n[server]",
        "lanes.otp = 0: expected 1..=10000, the lane's share; 0 would starve it",
    ),
    (
        "[server]",
        "[webhook]\nallow_private = [\"10.0.0.0/33\"]\n[server]",
        "webhook.allow_private[0] = \"10.0.0.0/33\": expected a range",
    ),
    (
        "[server]",
        "webhook = 1\n[server]",
        "c.toml:2 webhook = 1: expected a table",
    ),
    (
        "[server]",
        "[tenants.\"a b\"]\nsenders = []\n[server]",
        "tenants.a b = a table: expected a name of 1 to 64",
    ),
    (
        "[server]",
        "[[auth.keys]]\nname = \"crm\"\nscopes = [\"admin\"]\nsecret = { env = \"WHSEC\" }\n[server]",
        "auth.keys[1].name = \"crm\": expected a name that no other key has",
    ),
    (
        "[server]",
        "[[auth.keys]]\nname = \"two\"\nscopes = [\"admin\"]\nsecret = { env = \"TRUNKLINE_KEY_CRM\" }\n[server]",
        "auth.keys[1].secret: expected another secret than that of key \"two\"",
    ),
];

fn good_env() -> Env {
    with("WHSEC", WHSEC)
}

#[test]
fn the_base_of_the_table_is_good() {
    let (_, warnings) = load_text(GOOD, &good_env(), false).unwrap_or_else(|p| panic!("{p:#?}"));
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn each_mistake_is_said_once_and_in_full() {
    let mut failures = Vec::new();
    for (piece, instead, said) in MISTAKES {
        assert!(GOOD.contains(piece), "no such piece: {piece}");
        let text = GOOD.replacen(piece, instead, 1);
        match load_text(&text, &good_env(), false) {
            Ok(_) => failures.push(format!("{instead}: nothing was said")),
            Err(problems) if problems.len() != 1 || !problems[0].contains(said) => {
                failures.push(format!("{instead}: wanted {said}\n   got {problems:#?}"));
            }
            Err(_) => {}
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn all_mistakes_are_reported_at_once_and_in_order() {
    let text = GOOD
        .replace("127.0.0.1:8443", "nowhere")
        .replace("window = 50", "window = 0")
        .replace("rate = \"400/s\"", "rat = \"400/s\"")
        .replace("routes = [\"carrier-a\"]", "routes = [\"b\"]")
        .replace("https://crm", "ftp://crm");
    let env = with("TRUNKLINE__LANES__OTP", "0");
    let problems = load_text(&text, &env, false).expect_err("there are six");
    let starts = [
        "c.toml:3 server.listen = \"nowhere\"",
        "c.toml:21 routes.carrier-a.window = 0",
        "c.toml:22 routes.carrier-a.rat: unknown key",
        "c.toml:26 routing.rules[0].routes[0] = \"b\"",
        "c.toml:30 endpoints.crm.url = \"ftp://crm.example/hooks\"",
        "env TRUNKLINE__LANES__OTP lanes.otp = 0: expected 1..=10000",
    ];
    assert_eq!(problems.len(), starts.len(), "{problems:#?}");
    for (problem, start) in problems.iter().zip(starts) {
        assert!(problem.starts_with(start), "{start}: {problems:#?}");
    }
}

#[test]
fn overrides_of_nothing_are_mistakes() {
    for (name, said) in [
        (
            "TRUNKLINE__SERVER__LISTNE",
            "env TRUNKLINE__SERVER__LISTNE server.listne: unknown key",
        ),
        (
            "TRUNKLINE__SERVER",
            "env TRUNKLINE__SERVER server = x: expected a table",
        ),
        (
            "TRUNKLINE__SERVER____LISTEN",
            "env TRUNKLINE__SERVER____LISTEN: names no key",
        ),
        (
            "TRUNKLINE__ROUTING__RULES__0",
            "env TRUNKLINE__ROUTING__RULES__0: names no key",
        ),
    ] {
        let problems = load_text(GOOD, &with(name, "x"), false).expect_err("no such key");
        assert!(
            problems.iter().any(|p| p.starts_with(said)),
            "{said}: {problems:#?}"
        );
    }
}
