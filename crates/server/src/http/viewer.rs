//! Who asks.

use axum::http::{HeaderMap, Method};

use super::sessions::{Role, SignedIn};

/// Header with the token of a session, which its changes must bear.
const CHANGE_TOKEN: &str = "x-csrf-token";

/// Who asks. Every request has this as an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Viewer {
    /// Whoever has not signed in.
    Nobody,
    /// The operator, by the token.
    Operator,
    /// Whoever has signed in, by a session that is open.
    Session(SignedIn),
}

impl Viewer {
    /// True for whoever sees everything.
    pub(crate) fn is_operator(&self) -> bool {
        match self {
            Self::Nobody => false,
            Self::Operator => true,
            Self::Session(signed_in) => signed_in.role == Role::Operator,
        }
    }

    /// The account of a miner who has signed in.
    pub(crate) fn account(&self) -> Option<&str> {
        match self {
            Self::Session(SignedIn {
                role: Role::Miner(account),
                ..
            }) => Some(account),
            Self::Session(_) | Self::Nobody | Self::Operator => None,
        }
    }

    /// True if this request may change something in its viewer's name, or only asks.
    pub(crate) fn may_change(&self, method: &Method, headers: &HeaderMap) -> bool {
        let is_safe = matches!(*method, Method::GET | Method::HEAD);
        match self {
            Self::Nobody => false,
            Self::Operator => true,
            Self::Session(SignedIn { change_token, .. }) => {
                let given = headers.get(CHANGE_TOKEN).map(|value| value.as_bytes());
                is_safe || given == Some(change_token.as_bytes())
            }
        }
    }
}
