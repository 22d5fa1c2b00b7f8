//! Payees of solo listeners: the address that the blocks of a connection pay.
//!
//! Invariant: a connection has one payee, from its first user on to its end, since each job is made for one.

use std::sync::Arc;

use crate::chain::address::{Address, AddressFault};
use crate::chain::coinbase::Payout;
use crate::job::direct_payout::DirectPayout;
use crate::pool::dispatch::RequestContext;
use crate::session::Session;
use crate::wire::message::Reject;

impl RequestContext<'_> {
    /// Sets the payee of a connection of a solo listener to that of its first account, and refuses an account
    /// with another payee, or without one.
    pub(crate) fn set_payee(&mut self, session: &mut Session, account: &str) -> Result<(), Reject> {
        match session.payout {
            Payout::Operator | Payout::Split => return Ok(()),
            Payout::Solo => {}
        }
        let payee = self.payee_of(account)?;
        match &session.direct {
            Some(direct) if direct.payee == payee => {}
            Some(_) => return Err(Reject::OtherPayee),
            None => {
                let fee = self.shared.config.operator_fee.clone();
                session.direct = Some(Arc::new(DirectPayout { payee, fee }));
            }
        }
        Ok(())
    }

    /// The account itself if it is an address, else the payout address of the account.
    fn payee_of(&self, account: &str) -> Result<Address, Reject> {
        let network = self.shared.config.network;
        if let Some(address) = Address::parse_payable(account, network) {
            return Ok(address);
        }
        let fault = Address::fault(account, network);
        match &self.shared.payout_addresses {
            Some(addresses) => addresses.get(account).cloned().ok_or_else(|| reject(fault)),
            None if fault == AddressFault::NoAddress => Err(Reject::PayeesUnknown),
            None => Err(reject(fault)),
        }
    }
}

fn reject(fault: AddressFault) -> Reject {
    match fault {
        AddressFault::Nobodys | AddressFault::Version => Reject::PayeeUnpayable,
        AddressFault::Network(_) => Reject::PayeeOfOtherNetwork,
        AddressFault::Malformed => Reject::PayeeMalformed,
        AddressFault::NoAddress => Reject::NoPayee,
    }
}
