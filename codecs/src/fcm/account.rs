//! A service account's file, as Google's console hands it out.

use serde_json::{Map, Value};

use crate::jwt::{Algorithm, KeyError, SigningKey};

/// Most octets of the file. Chosen: they have 2,400.
pub const ACCOUNT_OCTETS_MAX: usize = 32 * 1024;

/// A service account that can ask for access tokens.
#[derive(Debug)]
pub struct ServiceAccount {
    /// The project that its messages belong to.
    pub project_id: Box<str>,
    /// `client_email`: who asks.
    pub client_email: Box<str>,
    /// `private_key_id`: the assertion's `kid`.
    pub key_id: Box<str>,
    /// `token_uri`: where it asks, and the assertion's audience.
    pub token_uri: Box<str>,
    /// `private_key`.
    pub key: SigningKey,
}

/// Why a file is no service account's. It never repeats what the file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountError {
    /// More than [`ACCOUNT_OCTETS_MAX`].
    TooLong,
    /// It is no JSON object.
    Json,
    /// `type` is another one's, as `authorized_user`: a user's or a federation's credentials.
    Type,
    /// This member is missing, empty, or no string.
    Missing(&'static str),
    /// `token_uri` is no `https` URL (`http` to this machine may be, for tests).
    TokenUri,
    /// `private_key` is no key.
    Key(KeyError),
}

impl std::fmt::Display for AccountError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong => write!(f, "the file has more than {ACCOUNT_OCTETS_MAX} octets"),
            Self::Json => f.write_str("the file is no JSON object"),
            Self::Type => f.write_str("`type` must be `service_account`"),
            Self::Missing(member) => write!(f, "`{member}` must be a string that is not empty"),
            Self::TokenUri => f.write_str("`token_uri` must be an https URL"),
            Self::Key(error) => write!(f, "`private_key`: {error}"),
        }
    }
}

impl std::error::Error for AccountError {}

impl ServiceAccount {
    /// Reads the file.
    ///
    /// # Errors
    /// The first [`AccountError`].
    pub fn parse(file: &[u8]) -> Result<Self, AccountError> {
        if file.len() > ACCOUNT_OCTETS_MAX {
            return Err(AccountError::TooLong);
        }
        let json: Map<String, Value> =
            serde_json::from_slice(file).map_err(|_| AccountError::Json)?;
        let text = |member: &'static str| {
            let text = json.get(member).and_then(Value::as_str).unwrap_or_default();
            if text.is_empty() {
                Err(AccountError::Missing(member))
            } else {
                Ok(text)
            }
        };
        if text("type")? != "service_account" {
            return Err(AccountError::Type);
        }
        let token_uri = text("token_uri")?;
        let local = ["http://127.0.0.1:", "http://[::1]:"];
        let https = token_uri.starts_with("https://");
        if !https && !local.iter().any(|start| token_uri.starts_with(start)) {
            return Err(AccountError::TokenUri);
        }
        Ok(Self {
            project_id: text("project_id")?.into(),
            client_email: text("client_email")?.into(),
            key_id: text("private_key_id")?.into(),
            token_uri: token_uri.into(),
            key: SigningKey::from_pem(Algorithm::Rs256, text("private_key")?)
                .map_err(AccountError::Key)?,
        })
    }
}
