//! The messages: an SMS of 100 characters or a push to one device, a client_ref, two metadata keys, a
//! number of its own each.

use std::net::SocketAddr;

use clap::ValueEnum;

/// Digits that are unique to a message: 10^9 messages before they repeat.
const DIGITS: usize = 9;

/// Where the unique digits go, in what follows; as long as they are.
const HOLE: &str = "#########";

/// 100 characters of the GSM 7-bit alphabet.
pub(crate) const TEXT: &str = "Your order no. ######### is ready for pickup at the counter of store 42 \
                    until 21:00 today. Welcome!!";

/// Who gets the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum To {
    /// A number each.
    Sms,
    /// An APNs device each.
    Ios,
    /// An FCM device each.
    Android,
}

impl To {
    /// What an app is called in the gateway's configuration.
    pub(crate) const APP: &str = "load";

    /// A device's token: APNs' in 64 hexadecimal digits, FCM's as long as they are. What they start with
    /// is nothing that the simulators know as a fault.
    fn token(self) -> String {
        let start = match self {
            Self::Ios => "c0ffee".repeat(9) + "0",
            _ => format!("load-device:{}", "APA91b".repeat(22)),
        };
        start + HOLE
    }

    /// The token of a device.
    pub(crate) fn token_of(self, number: u64) -> String {
        self.token().replace(HOLE, &format!("{number:09}"))
    }

    fn recipient(self) -> String {
        let platform = match self {
            Self::Sms => return format!(r#""to":"+4670{HOLE}50","from":"ACME","text":"{TEXT}""#),
            Self::Ios => "ios",
            Self::Android => "android",
        };
        format!(
            concat!(
                r#""to":{{"devices":[{{"platform":"{}","app":"{}","token":"{}"}}]}},"#,
                r#""content":{{"push":{{"title":"Ready for pickup","body":"{}"}}}}"#
            ),
            platform,
            Self::APP,
            self.token(),
            TEXT
        )
    }
}

/// What all messages of a run share.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub(crate) api: SocketAddr,
    pub(crate) key: String,
    pub(crate) class: &'static str,
    pub(crate) to: To,
}

impl Recipe {
    fn body(&self) -> String {
        format!(
            concat!(
                r#"{{{to},"class":"{class}","#,
                r#""client_ref":"load-{hole}","metadata":{{"store":"S042","order":"{hole}"}}}}"#
            ),
            to = self.to.recipient(),
            hole = HOLE,
            class = self.class
        )
    }

    fn head(&self, path: &str, rest: &str) -> String {
        format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n{rest}\r\n",
            self.api, self.key
        )
    }

    /// The head of a chunked NDJSON stream.
    pub(crate) fn ndjson_head(&self) -> String {
        self.head(
            "/v1/batches",
            "content-type: application/x-ndjson\r\naccept: application/x-ndjson\r\n\
             transfer-encoding: chunked\r\n",
        )
    }

    /// The head of a JSON batch whose body has so many bytes.
    pub(crate) fn batch_head(&self, bytes: usize) -> String {
        let rest = format!("content-type: application/json\r\ncontent-length: {bytes}\r\n");
        self.head("/v1/batches", &rest)
    }
}

/// Bytes that are the same for every message, but for its digits, which are written in place.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    holes: Vec<usize>,
}

impl Template {
    /// One JSON object, without a line end.
    pub(crate) fn line(recipe: &Recipe) -> Self {
        Self::new(recipe.body())
    }

    /// A whole request for one message.
    pub(crate) fn request(recipe: &Recipe) -> Self {
        let body = recipe.body();
        let rest = format!(
            "content-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        );
        Self::new(recipe.head("/v1/messages", &rest) + &body)
    }

    fn new(text: String) -> Self {
        let holes = text.match_indices(HOLE).map(|(at, _)| at).collect();
        Self {
            bytes: text.into_bytes(),
            holes,
        }
    }

    /// The bytes for one message.
    pub(crate) fn stamp(&mut self, number: u64) -> &[u8] {
        let mut digits = [b'0'; DIGITS];
        let mut rest = number;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        for hole in &self.holes {
            self.bytes[*hole..*hole + DIGITS].copy_from_slice(&digits);
        }
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        Recipe {
            api: ([127, 0, 0, 1], 8080).into(),
            key: "k".to_owned(),
            class: "otp",
            to: To::Sms,
        }
    }

    #[test]
    fn a_message_is_as_the_readme_says() {
        assert_eq!(TEXT.len(), 100);
        let plan = codecs::text::plan(TEXT, codecs::text::Options::default()).unwrap();
        assert_eq!((plan.encoding.name(), plan.segments), ("gsm7", 1));
        let mut template = Template::line(&recipe());
        let line: serde_json::Value = serde_json::from_slice(template.stamp(42)).unwrap();
        // The simulator gives numbers that end in 0001 to 0009 other ends than `delivered`.
        assert_eq!(line["to"], "+467000000004250");
        assert_eq!(line["client_ref"], "load-000000042");
        assert_eq!(line["metadata"]["order"], "000000042");
        assert_eq!(line["text"].as_str().unwrap().len(), 100);
        assert_eq!(line["class"], "otp");
    }

    #[test]
    fn a_push_is_for_one_device_with_a_token_of_its_own() {
        for (to, octets) in [(To::Ios, 64), (To::Android, 153)] {
            let recipe = Recipe { to, ..recipe() };
            let mut template = Template::line(&recipe);
            let line: serde_json::Value = serde_json::from_slice(template.stamp(42)).unwrap();
            let device = &line["to"]["devices"][0];
            let token = device["token"].as_str().unwrap();
            assert!(
                token.ends_with("000000042") && token.len() == octets,
                "{token}"
            );
            assert_eq!(device["app"], To::APP);
            assert!(
                line["content"]["push"]["body"]
                    .as_str()
                    .unwrap()
                    .contains("000000042")
            );
        }
    }

    #[test]
    fn a_request_is_whole() {
        let mut template = Template::request(&recipe());
        let request = String::from_utf8(template.stamp(7).to_vec()).unwrap();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1:8080\r\n"));
        assert!(head.contains(&format!("content-length: {}", body.len())));
        assert!(head.contains("authorization: Bearer k\r\n"));
    }
}
