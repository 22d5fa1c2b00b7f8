//! Who asks.

use axum::http::{HeaderMap, Method};

/// Header with the token of a session, which its changes must bear.
const CHANGE_TOKEN: &str = "x-csrf-token";

/// Who asks. Every request has this as an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Viewer {
    /// Whoever has not signed in.
    Nobody,
    /// The operator, by the token.
    Operator,
    /// The operator, by a session that is open, and the token that its changes must bear.
    OperatorSession(String),
}

impl Viewer {
    /// True for whoever sees everything.
    pub(crate) fn is_operator(&self) -> bool {
        *self != Self::Nobody
    }

    /// True if this request may change something in the operator's name, or only asks.
    pub(crate) fn may_order(&self, method: &Method, headers: &HeaderMap) -> bool {
        let is_safe = matches!(*method, Method::GET | Method::HEAD);
        match self {
            Self::Nobody => false,
            Self::Operator => true,
            Self::OperatorSession(token) => {
                let given = headers.get(CHANGE_TOKEN).map(|value| value.as_bytes());
                is_safe || given == Some(token.as_bytes())
            }
        }
    }
}
