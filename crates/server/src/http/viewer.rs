//! Who asks.

use axum::http::{HeaderMap, Method};

use super::sessions::{Role, SignedIn};
use crate::account_keys::{KeyHolder, KeyRight};

/// Header with the token of a session, which its changes must bear.
const CHANGE_TOKEN: &str = "x-csrf-token";

/// The refusal of a change that lacks its session's token.
const NO_CHANGE_TOKEN: &str = "this call needs the session's token: X-CSRF-Token: …";

/// Who asks. Every request has this as an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Viewer {
    /// Whoever has not signed in.
    Nobody,
    /// The operator, by the token.
    Operator,
    /// Whoever has signed in, by a session that is open.
    Session(SignedIn),
    /// A program or a page, by a key or link of an account.
    Key(KeyHolder),
}

impl Viewer {
    /// True for whoever sees everything.
    pub(crate) fn is_operator(&self) -> bool {
        match self {
            Self::Nobody | Self::Key(_) => false,
            Self::Operator => true,
            Self::Session(signed_in) => signed_in.role == Role::Operator,
        }
    }

    /// The account that is shown whole to the viewer.
    pub(crate) fn account(&self) -> Option<&str> {
        match self {
            Self::Session(SignedIn {
                role: Role::Miner(account),
                ..
            }) => Some(account),
            Self::Key(holder) => Some(&holder.account),
            Self::Session(_) | Self::Nobody | Self::Operator => None,
        }
    }

    /// True for a link: it shows the account as everybody sees it where the dashboard is public.
    pub(crate) fn is_link(&self) -> bool {
        matches!(self, Self::Key(holder) if holder.right == KeyRight::Link)
    }

    /// True for the owner of that account, or for what asks in the owner's name.
    pub(crate) fn owns(&self, account: &str) -> bool {
        self.account() == Some(account) && !self.is_link()
    }

    /// The reason why this request may change nothing in its viewer's name; none if it may, or only asks.
    pub(crate) fn change_refusal(
        &self,
        method: &Method,
        headers: &HeaderMap,
    ) -> Option<&'static str> {
        let is_safe = matches!(*method, Method::GET | Method::HEAD);
        match self {
            Self::Nobody => Some(NO_CHANGE_TOKEN),
            Self::Operator => None,
            _ if is_safe => None,
            Self::Session(SignedIn { change_token, .. }) => {
                let given = headers.get(CHANGE_TOKEN).map(|value| value.as_bytes());
                (given != Some(change_token.as_bytes())).then_some(NO_CHANGE_TOKEN)
            }
            // No page of another site can send one: a browser adds no such header by itself.
            Self::Key(holder) => match holder.right {
                KeyRight::Settings => None,
                KeyRight::Read => Some("this key may read, and change nothing"),
                KeyRight::Link => Some("a link shows the account, and changes nothing"),
            },
        }
    }
}
