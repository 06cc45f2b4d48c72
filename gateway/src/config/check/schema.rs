//! Schema: every key there is, and every key of the contract that is not there yet.

/// The keys of one table.
pub(crate) struct Schema {
    /// The table's path; `*` stands for a name, `[]` for an item.
    pub(crate) path: &'static str,
    /// Its keys.
    pub(crate) keys: &'static [&'static str],
    /// Keys of contract.md §5 (for endpoints also §3) that this version lacks.
    pub(crate) not_yet: &'static [&'static str],
}

const fn table(path: &'static str, keys: &'static [&'static str]) -> Schema {
    lacking(path, keys, &[])
}

const fn lacking(
    path: &'static str,
    keys: &'static [&'static str],
    not_yet: &'static [&'static str],
) -> Schema {
    Schema {
        path,
        keys,
        not_yet,
    }
}

/// All tables with fixed keys.
pub(crate) const SCHEMAS: &[Schema] = &[
    lacking(
        "",
        &[
            "server",
            "admin",
            "store",
            "auth",
            "webhook",
            "limits",
            "lanes",
            "tenants",
            "routes",
            "routing",
            "endpoints",
            "inbound",
        ],
        &["pools"],
    ),
    table(
        "inbound",
        &[
            "default_endpoint",
            "keyword_endpoints",
            "reassembly_timeout",
            "opt_out_scope",
            "numbers",
            "keywords",
            "replies",
        ],
    ),
    table(
        "inbound.keywords",
        &["languages", "opt_out", "opt_in", "help"],
    ),
    table("inbound.replies", &["opt_out", "opt_in", "help"]),
    table(
        "inbound.numbers.*",
        &["tenant", "endpoint", "keyword_endpoints"],
    ),
    lacking("server", &["listen", "tls"], &["client_ca"]),
    table("server.tls", &["cert", "key"]),
    table("admin", &["listen"]),
    table("store", &["path", "durability", "retention"]),
    table(
        "store.retention",
        &["messages", "content", "events", "idempotency"],
    ),
    lacking("auth", &["keys"], &["oauth"]),
    table("auth.keys[]", &["name", "tenant", "scopes", "secret"]),
    table("webhook", &["allow_http", "allow_private"]),
    table(
        "limits",
        &[
            "memory",
            "queued",
            "suppressions",
            "disk_reserve",
            "connections",
            "ndjson_streams",
            "batch_items",
        ],
    ),
    table(
        "lanes",
        &["otp", "transactional", "conversational", "promotional"],
    ),
    lacking(
        "tenants.*",
        &["senders", "ingress_rate", "require_idempotency", "replies"],
        &["quiet_hours"],
    ),
    table("tenants.*.replies", &["opt_out", "opt_in", "help"]),
    lacking(
        "routes.*",
        &[
            "type",
            "hosts",
            "tls",
            "tls_ca",
            "tls_server_name",
            "tls_client",
            "tls_pins",
            "source_address",
            "tcp_user_timeout",
            "outbind",
            "system_id",
            "password",
            "system_type",
            "address_range",
            "addr_ton",
            "addr_npi",
            "service_type",
            "max_source",
            "bind",
            "binds_per_host",
            "window",
            "version",
            "enquire_link",
            "response_timeout",
            "rate",
            "throttle",
            "statuses",
            "retry_status",
            "receipts",
            "error_map",
            "validity",
            "max_validity",
            "tlvs",
            "charset",
            "long_messages",
            "source_ton",
            "source_npi",
            "dest_ton",
            "dest_npi",
            "inbound_country",
        ],
        &["breaker", "cost", "tags"],
    ),
    table("routes.*.throttle", &["pause", "pause_max"]),
    table("routes.*.statuses[]", &["status", "text", "class", "alarm"]),
    table(
        "routes.*.receipts",
        &[
            "enabled",
            "timeout",
            "id_format",
            "id_transform",
            "format",
            "by_text",
            "without_id",
            "prefer_text",
            "utc_offset",
            "accepted_is_final",
            "unknown_is_final",
            "ask",
            "parts",
        ],
    ),
    table(
        "routes.*.receipts.id_transform",
        &["strip_prefix", "strip_suffix", "first", "last"],
    ),
    table(
        "routes.*.charset",
        &["default", "national", "flash", "latin1", "ia5", "ucs2"],
    ),
    table(
        "routes.*.outbind",
        &["listen", "allow", "system_id", "password"],
    ),
    table("routes.*.tls_client", &["cert", "key"]),
    table("routes.*.tlvs.*", &["tag", "type", "direction", "value"]),
    table("routing", &["rules"]),
    table("routing.rules[]", &["match", "routes", "strategy"]),
    lacking(
        "routing.rules[].match",
        &["channel", "class", "country", "prefix", "tenant"],
        &["tags"],
    ),
    table("routing.rules[].routes[]", &["name", "weight"]),
    lacking(
        "endpoints.*",
        &[
            "tenant", "url", "secret", "types", "format", "payload", "batch", "rate", "headers",
        ],
        &["ordering", "include_content", "redact_to"],
    ),
    table(
        "endpoints.*.batch",
        &["max_events", "max_wait_ms", "max_bytes"],
    ),
];

/// Event types of contract.md §3, also those that this version does not make.
pub(crate) const EVENT_TYPES: &[&str] = &[
    "message.accepted",
    "message.scheduled",
    "message.queued",
    "message.sent",
    "message.delivered",
    "message.read",
    "message.undelivered",
    "message.failed",
    "message.rejected",
    "message.expired",
    "message.canceled",
    "message.unknown",
    "message.fallback_started",
    "attempt.sent",
    "attempt.failed",
    "attempt.receipt",
    "inbound.received",
    "recipient.opted_out",
    "recipient.opted_in",
    "recipient.help_requested",
    "device.unregistered",
    "batch.completed",
    "job.completed",
    "route.up",
    "route.down",
    "route.degraded",
    "route.paused",
    "route.resumed",
    "route.drained",
    "endpoint.disabled",
    "endpoint.recovered",
    "delivery.exhausted",
    "endpoint.test",
    "suppression.created",
    "suppression.deleted",
];
