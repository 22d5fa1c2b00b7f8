//! Examination of the wallet that pays, so that its troubles show before a payment is due.

use hstratum_core::chain::address::{Address, Network};

use super::payer_status::WalletReading;
use crate::payout::hsd::Wallet;

/// Asks the wallet. `payee` is the address that the pool's blocks pay.
pub(super) fn examine(wallet: &Wallet, network: Network, payee: &Address) -> WalletReading {
    let looked = look(wallet, network, payee);
    let (balance, trouble) = match looked {
        Ok((balance, trouble)) => (Some(balance), trouble),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    WalletReading {
        name: wallet.id().to_owned(),
        balance,
        trouble,
    }
}

/// Its balance in base units, and its trouble.
fn look(
    wallet: &Wallet,
    network: Network,
    payee: &Address,
) -> anyhow::Result<(u64, Option<String>)> {
    wallet.check(network)?;
    let balance = wallet.balance()?;
    if wallet.lacks_passphrase()? {
        let text = format!(
            "the wallet {:?} is locked, or unlocked without an end: set HSTRATUM_WALLET_PASSPHRASE \
             for the node",
            wallet.id()
        );
        return Ok((balance, Some(text)));
    }
    let payee = payee.encode(network);
    let is_own = wallet.owns(&payee)?;
    let text = || {
        format!(
            "blocks pay {payee}, which is not of the wallet {:?}: it must be funded by other means",
            wallet.id()
        )
    };
    Ok((balance, (!is_own).then(text)))
}
