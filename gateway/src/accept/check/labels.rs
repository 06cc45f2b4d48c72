//! What a client says about a message for itself: tags, metadata, tracking, its reference.

use super::Check;
use crate::accept::request::{Metadata, Request, TrackingIn};
use crate::accept::shape::push_token;

/// Characters of `client_ref` (contract.md §1).
const CLIENT_REF_MAX: usize = 255;
/// The most octets of such a `client_ref`: UTF-8 takes four for a character.
pub(crate) const CLIENT_REF_OCTETS_MAX: usize = 4 * CLIENT_REF_MAX;
/// Tags, and characters of each (contract.md §1).
const TAGS_MAX: usize = 10;
const TAG_MAX: usize = 64;
/// Keys of metadata, characters of a key and of a value, and bytes in all (contract.md §1).
const METADATA_MAX: usize = 20;
const METADATA_KEY_MAX: usize = 40;
const METADATA_VALUE_MAX: usize = 500;
const METADATA_BYTES_MAX: usize = 4 * 1024;
/// Characters of each field of `tracking` (contract.md §1).
const TRACKING_MAX: usize = 128;
impl Check<'_> {
    pub(super) fn tags(&mut self, request: &Request<'_>) -> String {
        let tags = request.tags.as_deref().unwrap_or_default();
        if tags.len() > TAGS_MAX {
            self.wrong("/tags", "out_of_range", "must have at most 10 tags");
            return String::new();
        }
        for (index, tag) in tags.iter().enumerate() {
            if !is_tag(tag) {
                let at = format!("/tags/{index}");
                self.wrong(&at, "invalid_tag", "must be 1..64 of a-z 0-9 _ . -");
            }
        }
        let words: Vec<&str> = tags.iter().map(|tag| &**tag).collect();
        words.join(" ")
    }

    pub(super) fn metadata(&mut self, metadata: Option<&Metadata<'_>>) -> String {
        let Some(metadata) = metadata.filter(|m| !m.0.is_empty()) else {
            return String::new();
        };
        if metadata.0.len() > METADATA_MAX {
            self.wrong("/metadata", "out_of_range", "must have at most 20 keys");
            return String::new();
        }
        for (index, (key, value)) in metadata.0.iter().enumerate() {
            let at = || pointer("/metadata", key);
            if key.is_empty() || key.chars().count() > METADATA_KEY_MAX {
                self.wrong(&at(), "out_of_range", "a key must have 1..40 characters");
            }
            if value.chars().count() > METADATA_VALUE_MAX {
                self.wrong(
                    &at(),
                    "out_of_range",
                    "a value must have at most 500 characters",
                );
            }
            if index > 0 && metadata.0[index - 1].0 == *key {
                self.wrong(&at(), "duplicate_key", "comes twice");
            }
        }
        let json = serde_json::to_string(metadata).unwrap_or_default();
        if json.len() > METADATA_BYTES_MAX {
            self.wrong(
                "/metadata",
                "out_of_range",
                "must have at most 4 KiB in all",
            );
        }
        json
    }

    pub(super) fn tracking(&mut self, tracking: Option<&TrackingIn<'_>>) -> String {
        let Some(tracking) = tracking else {
            return String::new();
        };
        let mut any = false;
        for (name, value) in tracking.fields() {
            any |= value.is_some();
            if value
                .as_deref()
                .is_some_and(|v| v.chars().count() > TRACKING_MAX)
            {
                let at = format!("/tracking/{name}");
                self.wrong(&at, "out_of_range", "must have at most 128 characters");
            }
        }
        if any {
            serde_json::to_string(tracking).unwrap_or_default()
        } else {
            String::new()
        }
    }

    pub(super) fn client_ref(&mut self, request: &Request<'_>) {
        if request
            .client_ref
            .as_deref()
            .is_some_and(|r| r.chars().count() > CLIENT_REF_MAX)
        {
            self.wrong(
                "/client_ref",
                "out_of_range",
                "must have at most 255 characters",
            );
        }
    }
}

/// Whether a tag is `[a-z0-9_.-]{1,64}`.
pub(crate) fn is_tag(tag: &str) -> bool {
    (1..=TAG_MAX).contains(&tag.len())
        && tag
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-'))
}

/// A JSON pointer to a member by its name (RFC 6901 §3).
pub(super) fn pointer(parent: &str, name: &str) -> String {
    let mut pointer = parent.to_owned();
    push_token(&mut pointer, name);
    pointer
}
