//! What a message says, in the account's language.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use hstratum_core::accounting::reward_split::Hns;
use hstratum_core::alarm::hashrate_drop::in_units;

use crate::chat_text::without_links;
use crate::contacts::event::{AccountChange, AlertEvent};
use crate::contacts::table::Language;
use crate::limits::{ALERT_LINES_MAX, ALERT_NAME_CHARS_MAX, ALERT_NAMES_MAX, CODE_MINUTES};

/// A message to a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// One line.
    pub subject: String,
    /// Lines of plain text.
    pub text: String,
}

/// The message about these events of an account: first what whoever takes it over does, then the oldest; `pool` is the
/// pool's name.
pub(super) fn message(
    language: Language,
    pool: &str,
    account: &str,
    events: &[(i64, AlertEvent)],
) -> Message {
    let silent: Vec<&(i64, AlertEvent)> = events
        .iter()
        .filter(|(_, event)| matches!(event, AlertEvent::Silent { .. }))
        .collect();
    let mut ordered: Vec<&(i64, AlertEvent)> = events.iter().collect();
    ordered.sort_by_key(|(_, event)| !event.is_takeover());
    let mut lines = Vec::new();
    if let [_, _, ..] = silent[..] {
        lines.push(silent_workers(language, &silent));
    }
    for (at, event) in ordered {
        if lines.len() == ALERT_LINES_MAX {
            break;
        }
        if !(silent.len() > 1 && matches!(event, AlertEvent::Silent { .. })) {
            lines.push(line(language, *at, event));
        }
    }
    let told = lines.len();
    let all = events.len() - silent.len().saturating_sub(1);
    let count = all - told;
    let account = shown(account);
    let mut text = match language {
        Language::En => format!("Account {account} at {pool}:\n"),
        Language::Zh => format!("{pool} 上的账户 {account}：\n"),
    };
    for line in &lines {
        let _ = write!(text, "\n- {line}\n");
    }
    if count > 0 {
        let _ = match language {
            Language::En => write!(text, "\nAnd {count} more.\n"),
            Language::Zh => write!(text, "\n还有 {count} 条。\n"),
        };
    }
    let subject = match (language, all) {
        (_, 1) => lines[0].lines().next().unwrap_or_default().to_owned(),
        (Language::En, _) => format!("{all} alerts for {account}"),
        (Language::Zh, _) => format!("账户 {account} 有 {all} 条提醒"),
    };
    Message {
        subject: format!("{pool}: {subject}"),
        text,
    }
}

/// The message to a contact that is the account's no more: that something was changed, and not to what. Either it was the
/// owner's, who is to hear of a takeover, or that of whoever took the account over, who is to learn nothing.
pub(super) fn message_to_ended(language: Language, pool: &str, account: &str) -> Message {
    let account = shown(account);
    let (subject, text) = match language {
        Language::En => (
            format!("{pool}: account {account} was changed"),
            format!(
                "The password, the payout address or the contacts of account {account} at {pool} were changed.\n\n\
                 If it was not you, tell the pool's operator. This mailbox or chat was a contact of that account until \
                 lately.\n"
            ),
        ),
        Language::Zh => (
            format!("{pool}：账户 {account} 已更改"),
            format!(
                "{pool} 上的账户 {account} 的密码、收款地址或联系方式已更改。\n\n\
                 如果不是您本人操作，请联系矿池管理员。您的联系方式不久前属于该账户。\n"
            ),
        ),
    };
    Message { subject, text }
}

/// The message with the code that confirms a contact.
pub(super) fn code_message(language: Language, pool: &str, account: &str, code: &str) -> Message {
    let account = shown(account);
    let (subject, text) = match language {
        Language::En => (
            format!("{pool}: code {code}"),
            format!(
                "Account {account} at {pool} wants to be told here of its workers, blocks and payments.\n\n\
                 Code: {code}\n\n\
                 It confirms that for {CODE_MINUTES} minutes. If this was not you, ignore it: nothing more will come.\n"
            ),
        ),
        Language::Zh => (
            format!("{pool}：验证码 {code}"),
            format!(
                "{pool} 上的账户 {account} 希望在此接收矿机、区块和付款的提醒。\n\n\
                 验证码：{code}\n\n\
                 {CODE_MINUTES} 分钟内有效。如果不是您本人操作，请忽略：不会再收到其他消息。\n"
            ),
        ),
    };
    Message { subject, text }
}

/// A text that a stranger has chosen: it becomes no link, no further line and no header, and is short.
fn shown(text: &str) -> String {
    let visible = text.chars().filter(|c| !c.is_control() && !is_layout(*c));
    without_links(&visible.take(ALERT_NAME_CHARS_MAX).collect::<String>())
}

/// True for what ends lines or turns the direction of a text.
fn is_layout(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn silent_workers(language: Language, silent: &[&(i64, AlertEvent)]) -> String {
    let names = silent.iter().take(ALERT_NAMES_MAX).map(|(_, event)| {
        let AlertEvent::Silent { worker, .. } = event else {
            unreachable!("these are of silence");
        };
        worker_name(language, worker)
    });
    let names: Vec<String> = names.collect();
    let (count, more) = (silent.len(), silent.len() - names.len());
    let comma = match language {
        Language::En => ", ",
        Language::Zh => "、",
    };
    let names = names.join(comma);
    match (language, more) {
        (Language::En, 0) => format!("{count} workers are silent: {names}."),
        (Language::En, _) => format!("{count} workers are silent: {names}, and {more} more."),
        (Language::Zh, 0) => format!("{count} 台矿机没有提交：{names}。"),
        (Language::Zh, _) => format!("{count} 台矿机没有提交：{names}，以及另外 {more} 台。"),
    }
}

fn worker_name(language: Language, worker: &str) -> String {
    match (language, worker) {
        (Language::En, "") => "the one without a name".to_owned(),
        (Language::Zh, "") => "未命名的矿机".to_owned(),
        (_, name) => shown(name),
    }
}

fn line(language: Language, at: i64, event: &AlertEvent) -> String {
    match language {
        Language::En => in_english(at, event),
        Language::Zh => in_chinese(at, event),
    }
}

fn in_english(at: i64, event: &AlertEvent) -> String {
    match event {
        AlertEvent::Silent {
            worker,
            last_share_at,
        } => {
            let worker = worker_name(Language::En, worker);
            format!("Worker {worker} is silent since {}.", time(*last_share_at))
        }
        AlertEvent::Drop { now, before } => format!(
            "The hashrate has fallen: {} in the last half hour, {} in the two hours before.",
            in_units(*now),
            in_units(*before)
        ),
        AlertEvent::Block { hash, height } => {
            format!("Your miner has found block {height}: {hash}.")
        }
        AlertEvent::BlockLost { hash, height } => {
            format!("Block {height} is on the main chain no more: {hash}.")
        }
        AlertEvent::Payment {
            amount,
            address,
            txid,
        } => format!(
            "{} HNS were paid to {address}: transaction {txid}.",
            hns(*amount)
        ),
        AlertEvent::SignIn { from } => format!(
            "Somebody signed in to the dashboard from {from} at {}. If it was not you, change the password.",
            time(at)
        ),
        AlertEvent::Change { change } => format!(
            "{} ({}). If it was not you, tell the pool's operator.",
            change_in_english(change),
            time(at)
        ),
    }
}

fn change_in_english(change: &AccountChange) -> String {
    match change {
        AccountChange::Password => "The account has another password, or was disabled".to_owned(),
        AccountChange::Address {
            address: Some(address),
        } => format!("The account is paid to {address} from now on"),
        AccountChange::Address { address: None } => {
            "The account has no payout address of its own any more".to_owned()
        }
        AccountChange::NextAddress { address, holds_at } => format!(
            "The account is to be paid to {address} from {} on; until then its owner can cancel that on the dashboard",
            time(*holds_at)
        ),
        AccountChange::KeepAddress => {
            "The new payout address was cancelled, the present one stays".to_owned()
        }
        AccountChange::Threshold {
            threshold: Some(threshold),
        } => format!(
            "The account is paid from {} HNS on",
            Hns((*threshold).into())
        ),
        AccountChange::Threshold { threshold: None } => {
            "The account is paid from the pool's threshold on".to_owned()
        }
        AccountChange::Contact { way, target } => {
            format!("Alerts go to {} ({way}) from now on", shown(target))
        }
        AccountChange::ContactEnded { way, target } => {
            format!("Alerts go to {} ({way}) no more", shown(target))
        }
        AccountChange::Alerts => "Other alerts were chosen".to_owned(),
        AccountChange::Key { name, may } if may == "link" => {
            format!("A link that shows the account was made: {}", shown(name))
        }
        AccountChange::Key { name, may } => {
            format!("An API key was made: {} ({may})", shown(name))
        }
        AccountChange::KeyRevoked => "An API key or a link was revoked".to_owned(),
    }
}

fn in_chinese(at: i64, event: &AlertEvent) -> String {
    match event {
        AlertEvent::Silent {
            worker,
            last_share_at,
        } => {
            let worker = worker_name(Language::Zh, worker);
            format!("矿机 {worker} 自 {} 起没有提交。", time(*last_share_at))
        }
        AlertEvent::Drop { now, before } => format!(
            "算力下降：最近半小时 {}，之前两小时 {}。",
            in_units(*now),
            in_units(*before)
        ),
        AlertEvent::Block { hash, height } => format!("您的矿机找到了区块 {height}：{hash}。"),
        AlertEvent::BlockLost { hash, height } => {
            format!("区块 {height} 已不在主链上：{hash}。")
        }
        AlertEvent::Payment {
            amount,
            address,
            txid,
        } => format!("已向 {address} 支付 {} HNS：交易 {txid}。", hns(*amount)),
        AlertEvent::SignIn { from } => format!(
            "有人于 {} 从 {from} 登录了控制台。如果不是您本人，请修改密码。",
            time(at)
        ),
        AlertEvent::Change { change } => format!(
            "{}（{}）。如果不是您本人操作，请联系矿池管理员。",
            change_in_chinese(change),
            time(at)
        ),
    }
}

fn change_in_chinese(change: &AccountChange) -> String {
    match change {
        AccountChange::Password => "账户密码已更改，或账户已被停用".to_owned(),
        AccountChange::Address {
            address: Some(address),
        } => format!("账户的收款地址即时改为 {address}"),
        AccountChange::Address { address: None } => "账户不再有自己的收款地址".to_owned(),
        AccountChange::NextAddress { address, holds_at } => format!(
            "账户的收款地址将于 {} 改为 {address}，在此之前可在控制台取消",
            time(*holds_at)
        ),
        AccountChange::KeepAddress => "新的收款地址已取消，仍使用当前地址".to_owned(),
        AccountChange::Threshold {
            threshold: Some(threshold),
        } => format!("账户的起付额改为 {} HNS", Hns((*threshold).into())),
        AccountChange::Threshold { threshold: None } => "账户改用矿池的起付额".to_owned(),
        AccountChange::Contact { way, target } => {
            format!("今后提醒将发送到 {}（{way}）", shown(target))
        }
        AccountChange::ContactEnded { way, target } => {
            format!("提醒不再发送到 {}（{way}）", shown(target))
        }
        AccountChange::Alerts => "提醒设置已更改".to_owned(),
        AccountChange::Key { name, may } if may == "link" => {
            format!("已创建显示账户的链接：{}", shown(name))
        }
        AccountChange::Key { name, may } => {
            format!("已创建 API 密钥：{}（{may}）", shown(name))
        }
        AccountChange::KeyRevoked => "已撤销一个 API 密钥或链接".to_owned(),
    }
}

fn hns(amount: i64) -> Hns {
    Hns(amount.into())
}

/// A time as mail and HTTP write it, in GMT.
fn time(unix_s: i64) -> String {
    let since = Duration::from_secs(u64::try_from(unix_s).unwrap_or(0));
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent(worker: &str) -> (i64, AlertEvent) {
        let event = AlertEvent::Silent {
            worker: worker.to_owned(),
            last_share_at: 1_800_000_000,
        };
        (1_800_000_900, event)
    }

    #[test]
    fn workers_that_are_silent_together_are_one_line() {
        let many: Vec<_> = (0..ALERT_NAMES_MAX + 3)
            .map(|number| silent(&format!("rig{number}")))
            .collect();
        let Message { subject, text } = message(Language::En, "pool", "alice", &many);
        let count = many.len();
        assert!(subject.starts_with(&format!("pool: {count} workers are silent: rig0, rig1")));
        assert!(text.contains("and 3 more."), "{text}");
        assert_eq!(text.matches("\n- ").count(), 1, "{text}");
    }

    #[test]
    fn many_alerts_are_one_message_of_bounded_length() {
        let payment = |number: usize| AlertEvent::Payment {
            amount: 1_500_000,
            address: "hs1q".to_owned(),
            txid: number.to_string(),
        };
        let all: Vec<_> = (0..ALERT_LINES_MAX + 5)
            .map(|number| (0, payment(number)))
            .collect();
        let Message { subject, text } = message(Language::En, "pool", "alice", &all);
        assert_eq!(subject, format!("pool: {} alerts for alice", all.len()));
        assert_eq!(
            text.matches("1.500000 HNS were paid").count(),
            ALERT_LINES_MAX
        );
        assert!(text.ends_with("\nAnd 5 more.\n"), "{text}");
    }

    #[test]
    fn takeover_is_not_hidden_behind_other_alerts() {
        let threshold = |number| AlertEvent::Change {
            change: AccountChange::Threshold {
                threshold: Some(number),
            },
        };
        let mut all: Vec<_> = (0..30).map(|number| (0, threshold(number))).collect();
        let contact = AccountChange::Contact {
            way: "mail".to_owned(),
            target: "thief@example.com".to_owned(),
        };
        all.push((1, AlertEvent::Change { change: contact }));
        let Message { text, .. } = message(Language::En, "pool", "alice", &all);
        assert!(text.contains("\n\n- Alerts go to thief@"), "{text}");
        assert_eq!(text.matches("\n- ").count(), ALERT_LINES_MAX);
    }

    #[test]
    fn name_becomes_no_link_and_no_line() {
        let hostile =
            "[pay](https://evil.example)\r\n\u{2028}\u{202e}Bcc: x@evil.example evil。example";
        let Message { subject, text } = message(Language::En, "pool", hostile, &[silent(hostile)]);
        let ends = ['\r', '\n', '\u{2028}', '\u{202e}'];
        assert!(!subject.contains(ends), "{subject:?}");
        assert!(!text.contains(&ends[2..]), "{text:?}");
        for link in ["evil。example", "https://", "evil.example", "](", "@evil"] {
            assert!(!text.contains(link) && !subject.contains(link), "{text}");
        }
    }
}
