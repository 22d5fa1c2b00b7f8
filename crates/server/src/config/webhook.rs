//! The options of the webhook that alarms are delivered to.

use ureq::http::Uri;

use crate::secret::Secret;

const URL_BYTES_MAX: usize = 2048;

/// The receiver of alarms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Of http or https; it may hold a token.
    pub url: Secret,
    /// The key of a delivery's signature.
    pub secret: Option<Secret>,
}

/// The two options together.
///
/// # Errors
/// When a secret has nothing to sign.
pub(super) fn from_options(
    url: Option<Secret>,
    secret: Option<Secret>,
) -> Result<Option<Webhook>, String> {
    match (url, secret) {
        (Some(url), secret) => Ok(Some(Webhook { url, secret })),
        (None, None) => Ok(None),
        (None, Some(_)) => Err("webhook-secret is not used, since there is no webhook".to_owned()),
    }
}

/// A URL of http or https with a host.
pub(super) fn parse_url(text: &str) -> Option<Secret> {
    let uri: Uri = (text.len() <= URL_BYTES_MAX).then(|| text.parse().ok())??;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    (is_web && has_host).then(|| Secret(text.to_owned()))
}
