use super::*;
use hstratum_core::chain::transaction::Outpoint;
use hstratum_core::units::Hash;

fn address(fill: u8) -> Address {
    Address::new(0, vec![fill; KEY_HASH_BYTES]).unwrap()
}

fn payee(fill: u8, amount: u64) -> Payee {
    Payee {
        account_id: fill.into(),
        name: format!("account {fill}"),
        address: address(fill).encode(Network::Regtest),
        amount,
    }
}

fn output(fill: u8, value: u64) -> TxOutput {
    TxOutput {
        value,
        address: address(fill),
        plain: true,
    }
}

/// Two inputs of 1 HNS; 1.2 to the first account, 0.3 to the second, change, and a fee.
fn good() -> (Transaction, Vec<Payee>, Vec<Coin>) {
    let input = |index| TxInput {
        outpoint: Outpoint {
            txid: Hash([7; 32]),
            index,
        },
        sequence: u32::MAX,
        witness: WITNESS_SIZES.iter().map(|size| vec![1; *size]).collect(),
    };
    let tx = Transaction {
        witness_hash: Hash::ZERO,
        version: 0,
        inputs: vec![input(0), input(1)],
        outputs: vec![output(2, 300_000), output(9, 490_000), output(1, 1_200_000)],
        locktime: 0,
        txid: Hash([8; 32]),
        weight: 1200,
    };
    let coin = Coin {
        value: 1_000_000,
        address: address(9),
        height: Some(5),
    };
    let payees = vec![payee(1, 1_200_000), payee(2, 300_000)];
    (tx, payees, vec![coin.clone(), coin])
}

/// The fee and the change, or the reason for a refusal.
fn judge(
    tx: &Transaction,
    payees: &[Payee],
    coins: &[Coin],
) -> Result<(u64, Option<TxOutput>), String> {
    let change = judge_outputs(tx, payees, Network::Regtest).map_err(|error| error.to_string())?;
    let fee = judge_inputs(tx, coins, 10_000).map_err(|error| error.to_string())?;
    Ok((fee, change.cloned()))
}

#[test]
fn what_was_asked_for_passes() {
    let (mut tx, payees, coins) = good();
    let change = output(9, 490_000);
    assert_eq!(judge(&tx, &payees, &coins), Ok((10_000, Some(change))));
    // Without change: the rest is the fee.
    let (_, _, mut exact) = good();
    tx.outputs.remove(1);
    exact[1].value = 509_000;
    assert_eq!(judge(&tx, &payees, &exact), Ok((9_000, None)));
}

#[test]
fn two_accounts_with_one_address_are_both_paid() {
    let (mut tx, mut payees, coins) = good();
    payees[1] = payee(1, 1_200_000);
    payees[0].amount = 300_000;
    tx.outputs[0].address = address(1);
    assert!(judge(&tx, &payees, &coins).is_ok());
    payees[1].amount = 300_000;
    tx.outputs[2].value = 300_000;
    tx.outputs[1].value = 1_390_000;
    assert!(judge(&tx, &payees, &coins).is_ok());
    // One of the two equal outputs is missing.
    tx.outputs.remove(2);
    let told = judge(&tx, &payees, &coins).unwrap_err();
    assert!(
        told.starts_with("it does not pay 0.300000 HNS to rs1"),
        "{told}"
    );
}

#[test]
fn anything_else_is_refused() {
    type Change = fn(&mut Transaction, &mut Vec<Coin>);
    let cases: [(&str, Change); 17] = [
        ("it pays more than is asked for", |tx, _| {
            tx.outputs[0].value -= 1;
        }),
        ("it pays more than is asked for", |tx, _| {
            tx.outputs[2].address = address(3);
        }),
        ("it does not pay", |tx, _| drop(tx.outputs.remove(2))),
        ("it pays more than is asked for", |tx, _| {
            tx.outputs.push(output(2, 300_000));
        }),
        ("one of its outputs is about a name", |tx, _| {
            tx.outputs[1].plain = false;
        }),
        ("nodes would not pass it on", |tx, _| {
            tx.outputs[1].address = Address::new(1, vec![9; 20]).unwrap();
        }),
        ("it is not for the next block", |tx, _| tx.version = 1),
        ("it is not for the next block", |tx, _| tx.locktime = 1),
        ("it is not for the next block", |tx, _| {
            tx.inputs[1].sequence = 1;
        }),
        ("it weighs 400001", |tx, _| tx.weight = 400_001),
        ("it is not signed", |tx, _| tx.inputs[1].witness.clear()),
        ("it is not signed", |tx, _| tx.inputs[0].witness[0].clear()),
        ("it spends a coin that is in no block", |_, coins| {
            coins[1].height = None;
        }),
        (
            "it spends a coin that is not of a single key",
            |_, coins| {
                coins[0].address = Address::new(0, vec![9; 32]).unwrap();
            },
        ),
        ("it pays more than it spends", |_, coins| coins[0].value = 1),
        ("its fee of 0.000299 HNS is too low", |_, coins| {
            coins[0].value -= 10_000 - 299;
        }),
        (
            "its fee is 0.010001 HNS, and at most 0.010000",
            |_, coins| {
                coins[0].value += 1;
            },
        ),
    ];
    for (expected, change) in cases {
        let (mut tx, payees, mut coins) = good();
        change(&mut tx, &mut coins);
        let told = judge(&tx, &payees, &coins).unwrap_err();
        assert!(told.starts_with(expected), "{told:?} is not {expected:?}");
    }
    let (mut tx, payees, mut coins) = good();
    coins[0].value = u64::MAX;
    tx.outputs[1].value = 1;
    let told = judge(&tx, &payees, &coins).unwrap_err();
    assert_eq!(told, "its sums are impossible");
}
