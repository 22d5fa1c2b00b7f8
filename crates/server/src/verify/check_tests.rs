//! Honest answers about jobs of hsd's templates, and lies about them.

use std::sync::Arc;

use hstratum_core::accounting::reward_split::FeePpm;
use hstratum_core::chain::address::Address;
use hstratum_core::chain::coinbase::Payout;
use hstratum_core::chain::template::Template;
use hstratum_core::job::direct_payout::{DirectPayout, OperatorFee};
use hstratum_core::job::{Boot, Jobs};
use hstratum_core::units::Height;
use hstratum_harness::templates::TemplateStock;

use super::*;

const JOB: &str = "0000000000011";
const BITS: u32 = 0x207f_ffff;

fn address(number: u8) -> Address {
    Address::new(0, vec![number; 20]).expect("an address")
}

fn text(number: u8) -> String {
    address(number).encode(Network::Regtest)
}

/// The job of a template with this many transactions or more, for a payee with a fee of one percent or for the
/// operator, and an honest answer about it.
fn job(transactions: usize, payee: Option<u8>) -> (HeaderFields, ShownJob) {
    let mut stock = TemplateStock::all().into_iter();
    let stock = stock.find(|stock| stock.transactions() >= transactions);
    let tip = (Hash::blake2b(&[b"tip"]), Height(100_000));
    let parts = stock.expect("a template").parts(1, BITS, tip, 1_000);
    let boot = Boot {
        prefix: 1,
        nonce: 7,
        secret: [0; 32],
    };
    let mut jobs = Jobs::new(boot, 1_000);
    let job = jobs.push(Template::new(parts).expect("a template"));
    let (coinbase, header) = match payee {
        None => (job.coinbase(), job.header_fields()),
        Some(payee) => job.direct(&DirectPayout {
            payee: address(payee),
            fee: Arc::new(OperatorFee {
                part: FeePpm::parse_percent("1").expect("a percentage"),
                address: Some(address(99)),
            }),
        }),
    };
    let raw = coinbase.as_bytes().to_vec();
    let outputs = Transaction::parse(&raw).expect("a transaction").outputs;
    let outputs = outputs.iter().map(|output| ShownOutput {
        address: output.address.encode(Network::Regtest),
        value: output.value,
        account: None,
    });
    let template = &job.template;
    let shown = ShownJob {
        id: JOB.to_owned(),
        height: template.height.0,
        prev_block: template.prev_block,
        tree_root: template.tree_root,
        reserved_root: template.reserved_root,
        version: template.version,
        bits: template.bits,
        payout: payee.map_or("operator", |_| "solo").to_owned(),
        coinbase: raw,
        merkle_branch: template.merkle_branch.nodes().to_vec(),
        witness_branch: template.witness_branch.nodes().to_vec(),
        outputs: outputs.collect(),
    };
    (header, shown)
}

fn report(header: &HeaderFields, shown: &ShownJob, owner: Owner) -> JobReport {
    check(JOB, header, shown, &owner)
}

fn texts(report: &JobReport) -> Vec<String> {
    report.faults.iter().map(ToString::to_string).collect()
}

/// The only fault of a solo job of payee 1 about which the answer was changed.
fn fault(change: impl FnOnce(&mut ShownJob)) -> String {
    let (header, mut shown) = job(7, Some(1));
    change(&mut shown);
    let report = report(&header, &shown, Owner::Address(address(1)));
    let [one] = &texts(&report)[..] else {
        panic!("one fault: {:?}", report.faults)
    };
    one.clone()
}

#[test]
fn honest_answers_have_no_fault_and_tell_the_part_of_the_payee() {
    for transactions in [0, 1, 3, 333] {
        let (header, shown) = job(transactions, Some(1));
        let solo = report(&header, &shown, Owner::Address(address(1)));
        assert_eq!(texts(&solo), Vec::<String>::new());
        assert_eq!(solo.own_part(), shown.outputs[0].value);
        assert_eq!(solo.height, Some(100_000));
        let own: Vec<bool> = solo.outputs.iter().map(|one| one.is_own).collect();
        assert_eq!(own, [true, false]);
        assert_eq!(solo.payout, Some(Payout::Solo));
        let other = report(&header, &shown, Owner::Address(address(2)));
        assert_eq!((other.own_part(), other.faults.len()), (0, 0));

        let (header, shown) = job(transactions, None);
        let operator = report(&header, &shown, Owner::Name("alice".to_owned()));
        assert_eq!((operator.own_part(), operator.faults.len()), (0, 0));
        assert_eq!(operator.payout, Some(Payout::Operator));
    }
}

#[test]
fn outputs_of_the_name_are_those_of_its_account() {
    let (header, mut shown) = job(1, Some(1));
    for (name, account, is_own) in [
        ("alice", "alice", true),
        ("alice.rig", "alice", true),
        ("alice.b_SERIAL", "alice.b", true),
        ("alice_SERIAL", "alice", false),
        ("alicea", "alice", false),
        ("alice", "alice.rig", false),
    ] {
        shown.outputs[0].account = Some(account.to_owned());
        let report = report(&header, &shown, Owner::Name(name.to_owned()));
        let expected = u64::from(is_own) * shown.outputs[0].value;
        assert_eq!(report.own_part(), expected, "{name} {account}");
        assert_eq!(report.outputs[0].account.as_deref(), Some(account));
    }
}

/// The list of outputs is what a page would show; the coinbase of the job pays somebody else.
#[test]
fn list_that_is_not_in_the_coinbase_is_a_lie() {
    let (header, mut shown) = job(7, Some(2));
    shown.outputs[0].address = text(1);
    let report = report(&header, &shown, Owner::Address(address(1)));
    let (lie, truth) = (text(1), text(2));
    let expected =
        format!("output 1: the API says that it pays {lie:?}, the coinbase pays {truth}");
    assert_eq!(texts(&report), [expected]);
    assert_eq!(report.outputs[0].address, truth);
    assert_eq!(report.own_part(), 0);
}

/// Coinbase and list agree with each other, and are not of the job that was sent.
#[test]
fn coinbase_that_is_not_the_jobs_is_a_lie_and_pays_nobody() {
    let (header, _) = job(7, Some(2));
    let (promised, shown) = job(7, Some(1));
    let report = report(&header, &shown, Owner::Address(address(1)));
    let roots = [
        ("merkle root", promised.merkle_root, header.merkle_root),
        ("witness root", promised.witness_root, header.witness_root),
    ];
    let expected = roots.map(|(name, shown, given)| {
        let (shown, given) = (hex(&shown.0), hex(&given.0));
        format!("{name}: the API's coinbase and branch give {shown}, the job has {given}")
    });
    assert_eq!(texts(&report), expected);
    assert_eq!((report.height, report.own_part()), (None, 0));
    assert!(report.outputs.is_empty());
}

#[test]
fn each_lie_is_named() {
    let (_, honest) = job(7, Some(1));
    let value = honest.outputs[0].value;
    let said = fault(|shown| shown.outputs[0].value /= 2);
    let amount = |units: u64| Hns(units.into());
    let expected = format!(
        "output 1: the API says {} HNS, the coinbase has {} HNS",
        amount(value / 2),
        amount(value)
    );
    assert_eq!(said, expected);
    let said = fault(|shown| shown.outputs.truncate(1));
    assert_eq!(said, "outputs: the API lists 1, the coinbase has 2");
    let said = fault(|shown| shown.id = "0000000000012".to_owned());
    assert_eq!(said, "the API answers about another job: \"0000000000012\"");
    let said = fault(|shown| shown.height += 1);
    assert_eq!(said, "height: the API says 100001, the coinbase has 100000");
    let said = fault(|shown| shown.coinbase.truncate(20));
    assert_eq!(said, "the coinbase that the API shows is none");
    let said = fault(|shown| shown.bits -= 1);
    assert_eq!(said, "bits: the API says 207ffffe, the job has 207fffff");
    let said = fault(|shown| shown.version = 1);
    assert_eq!(said, "version: the API says 00000001, the job has 00000000");
    for (name, change) in [
        (
            "previous block",
            (|shown| shown.prev_block.0[0] ^= 1) as fn(&mut ShownJob),
        ),
        ("tree root", |shown| shown.tree_root.0[31] ^= 1),
        ("reserved root", |shown| shown.reserved_root.0[0] ^= 1),
        ("merkle root", |shown| shown.merkle_branch[0].0[0] ^= 1),
        ("witness root", |shown| {
            shown.witness_branch.pop();
        }),
    ] {
        let said = fault(change);
        assert!(said.starts_with(&format!("{name}: the API")), "{said}");
    }
}

/// Text of a server drives no terminal.
#[test]
fn address_that_is_none_is_quoted_and_cut() {
    let said = fault(|shown| shown.outputs[0].address = format!("\u{1b}[2J{}", "x".repeat(1000)));
    assert!(
        said.starts_with("output 1: the API says that it pays \"\\u{1b}[2Jxx"),
        "{said}"
    );
    assert!(said.len() < 250, "{said}");
}

#[test]
fn many_outputs_that_differ_are_counted() {
    let given = TxOutput {
        value: 1,
        address: address(1),
        plain: true,
    };
    let shown = ShownOutput {
        address: text(2),
        value: 1,
        account: None,
    };
    let mut faults = Vec::new();
    check_outputs(&vec![shown; 8], &vec![given; 8], &mut faults);
    assert_eq!(faults.len(), OUTPUT_FAULTS_MAX + 1);
    assert_eq!(faults[OUTPUT_FAULTS_MAX], Fault::FurtherOutputs(3));
}

/// A covenant takes the coins for a name: such an output pays nobody.
#[test]
fn output_with_a_covenant_is_no_part_of_the_user() {
    let (_, shown) = job(1, Some(1));
    let outputs = Transaction::parse(&shown.coinbase)
        .expect("a transaction")
        .outputs;
    let bound = outputs.into_iter().map(|output| TxOutput {
        plain: false,
        ..output
    });
    let paid = paid(bound.collect(), &shown, &Owner::Address(address(1)));
    assert!(paid.iter().all(|output| !output.is_own));
}
