//! Alerts and contacts in the ledger.
//!
//! An alert is written once, by its kind and subject, with a delivery for each contact that it concerns at that time:
//! what another contact or another setting is worth comes too late for it. Nothing is written for accounts without
//! contacts.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::event::{AccountChange, AlertEvent};
use super::way::Way;
use crate::limits::{
    ALERT_GATHER_S, ALERT_PAUSE_S, ALERT_RETRY_S, ALERT_RETRY_S_MAX, ALERTS_KEPT_S,
    ALERTS_OF_ACCOUNT_MAX, ALERTS_TRIED_S, CONTACT_TOLD_ON_S, CONTACTS_ENDED_MAX,
    CONTACTS_IN_A_TURN,
};
use crate::sql::{Sql, SqlError, Value};
use crate::values;

/// Language of messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// English.
    #[default]
    En,
    /// Chinese, simplified.
    Zh,
}

/// What an account wants to be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertSettings {
    /// Of the messages.
    pub language: Language,
    /// Minutes without a share after which a worker is silent, 5 to 1440; null: silence is not told.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required, minimum = 5, maximum = 1440)]
    pub silent_minutes: Option<u32>,
    /// Percent of the hashrate of two hours that half an hour has lost, 10 to 90; null: that is not told.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required, minimum = 10, maximum = 90)]
    pub drop_percent: Option<u32>,
    /// Blocks that the account found.
    pub blocks: bool,
    /// What the account is paid.
    pub payments: bool,
    /// Whoever signs in to the dashboard.
    pub sign_ins: bool,
    /// Changes of the account.
    pub changes: bool,
}

impl AlertSettings {
    /// Those of an account that has chosen none.
    fn first(language: Language) -> Self {
        Self {
            language,
            silent_minutes: Some(15),
            drop_percent: Some(50),
            blocks: true,
            payments: true,
            sign_ins: true,
            changes: true,
        }
    }

    /// Checks the numbers.
    ///
    /// # Errors
    /// Text about the one that is out of range.
    pub fn check(&self) -> Result<(), String> {
        let ranges = [
            ("silent_minutes", self.silent_minutes, 5..=1440),
            ("drop_percent", self.drop_percent, 10..=90),
        ];
        for (name, number, range) in ranges {
            if let Some(number) = number.filter(|number| !range.contains(number)) {
                let (from, to) = range.into_inner();
                return Err(format!(
                    "{name}: expected {from} to {to}, or null, found {number}"
                ));
            }
        }
        Ok(())
    }
}

/// Where an account is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Contact {
    /// `mail`, `telegram` or `ntfy`.
    pub way: String,
    /// The address, the chat, or the topic.
    pub to: String,
    /// When it was confirmed, Unix seconds.
    pub added_at: i64,
    /// When it took the last message; none before the first.
    pub told_at: Option<i64>,
    /// Alerts that it has not been told yet.
    pub waiting: i64,
    /// Why the last message was not taken; none if it was. It is tried again.
    pub failure: Option<String>,
    /// Alerts that it was never told, since it took no message for a day.
    pub given_up: i64,
}

/// What an account is told, and where; none if it never had a contact.
///
/// # Errors
/// See [`SqlError`].
pub fn read(
    sql: &mut dyn Sql,
    account: &str,
) -> Result<Option<(AlertSettings, Vec<Contact>)>, SqlError> {
    let row = sql.query_opt(
        "SELECT s.language, s.silent_minutes, s.drop_percent, s.blocks, s.payments, s.sign_ins, s.changes
           FROM alert_settings AS s JOIN accounts AS a ON a.id = s.account WHERE a.name = ?1",
        &values![account],
    )?;
    let Some(row) = row else { return Ok(None) };
    let number = |column| -> Result<Option<u32>, SqlError> {
        let number: Option<i64> = row.get(column)?;
        Ok(number.and_then(|number| u32::try_from(number).ok()))
    };
    let is_on = |column| Ok::<_, SqlError>(row.get::<i64>(column)? == 1);
    let settings = AlertSettings {
        language: language_of(&row.get::<String>(0)?),
        silent_minutes: number(1)?,
        drop_percent: number(2)?,
        blocks: is_on(3)?,
        payments: is_on(4)?,
        sign_ins: is_on(5)?,
        changes: is_on(6)?,
    };
    let rows = sql.query(
        "SELECT c.way, c.target, c.added_at, c.told_at, c.failure, c.given_up,
                (SELECT count(*) FROM alert_deliveries AS d WHERE d.contact = c.id)
           FROM contacts AS c JOIN accounts AS a ON a.id = c.account
          WHERE a.name = ?1 AND c.ended_at IS NULL ORDER BY c.way",
        &values![account],
    )?;
    let contacts = rows.iter().map(|row| {
        Ok(Contact {
            way: row.get(0)?,
            to: row.get(1)?,
            added_at: row.get(2)?,
            told_at: row.get(3)?,
            failure: row.get(4)?,
            given_up: row.get(5)?,
            waiting: row.get(6)?,
        })
    });
    let contacts = contacts.collect::<Result<_, SqlError>>()?;
    Ok(Some((settings, contacts)))
}

fn language_of(text: &str) -> Language {
    match text {
        "zh" => Language::Zh,
        _ => Language::En,
    }
}

fn name_of(language: Language) -> &'static str {
    match language {
        Language::En => "en",
        Language::Zh => "zh",
    }
}

/// An account's name, and the columns of its settings after `account`.
fn row_of(account: &str, settings: &AlertSettings) -> [Value; 8] {
    let switch = i64::from;
    values![
        account,
        name_of(settings.language),
        settings.silent_minutes,
        settings.drop_percent,
        switch(settings.blocks),
        switch(settings.payments),
        switch(settings.sign_ins),
        switch(settings.changes)
    ]
}

/// Sets what an account is told; false if it has no contact.
///
/// # Errors
/// See [`SqlError`].
pub fn set(
    sql: &mut dyn Sql,
    account: &str,
    settings: &AlertSettings,
    now: i64,
) -> Result<bool, SqlError> {
    // By the settings so far: whoever turns something off is told of that.
    let change = AccountChange::Alerts;
    note(sql, account, now, &AlertEvent::Change { change })?;
    let changed = sql.execute(
        "UPDATE alert_settings SET language = ?2, silent_minutes = ?3, drop_percent = ?4, blocks = ?5,
                payments = ?6, sign_ins = ?7, changes = ?8
          WHERE account = (SELECT id FROM accounts WHERE name = ?1)",
        &row_of(account, settings),
    )?;
    Ok(changed > 0)
}

/// Has an account told there, instead of at the contact of that way that it has. The one that it has is told, too.
///
/// # Errors
/// See [`SqlError`].
pub fn add_contact(
    sql: &mut dyn Sql,
    account: &str,
    (way, target): (Way, &str),
    language: Language,
    now: i64,
) -> Result<(), SqlError> {
    let (way_name, target) = (way.name().to_owned(), target.to_owned());
    let change = AccountChange::Contact {
        way: way_name,
        target: target.clone(),
    };
    note(sql, account, now, &AlertEvent::Change { change })?;
    end(sql, account, way, now)?;
    sql.execute(
        "INSERT INTO accounts (name) VALUES (?1) ON CONFLICT (name) DO NOTHING",
        &values![account],
    )?;
    sql.execute(
        "INSERT INTO alert_settings
         SELECT id, ?2, CAST(?3 AS BIGINT), CAST(?4 AS BIGINT), CAST(?5 AS BIGINT), CAST(?6 AS BIGINT),
                CAST(?7 AS BIGINT), CAST(?8 AS BIGINT)
           FROM accounts WHERE name = ?1 ON CONFLICT (account) DO NOTHING",
        &row_of(account, &AlertSettings::first(language)),
    )?;
    sql.execute(
        "INSERT INTO contacts (account, way, target, added_at, try_at, tries, given_up)
         SELECT id, ?2, ?3, CAST(?4 AS BIGINT), 0, 0, 0 FROM accounts WHERE name = ?1",
        &values![account, way.name(), target, now],
    )?;
    Ok(())
}

/// Has an account told by that way no more; false if it was not. The contact is told that, too.
///
/// # Errors
/// See [`SqlError`].
pub fn end_contact(sql: &mut dyn Sql, account: &str, way: Way, now: i64) -> Result<bool, SqlError> {
    let found = sql.query_opt(
        "SELECT c.target FROM contacts AS c JOIN accounts AS a ON a.id = c.account
          WHERE a.name = ?1 AND c.way = ?2 AND c.ended_at IS NULL",
        &values![account, way.name()],
    )?;
    let Some(found) = found else { return Ok(false) };
    let change = AccountChange::ContactEnded {
        way: way.name().to_owned(),
        target: found.get(0)?,
    };
    note(sql, account, now, &AlertEvent::Change { change })?;
    end(sql, account, way, now)?;
    Ok(true)
}

/// Ends the contact of that way. Of those that ended lately the first ones go on hearing of changes: those that came
/// between are whoever's has changed them.
fn end(sql: &mut dyn Sql, account: &str, way: Way, now: i64) -> Result<(), SqlError> {
    let ended = "SELECT id, target FROM contacts
                  WHERE account = (SELECT id FROM accounts WHERE name = ?1) AND way = ?2 AND ended_at > ?3
                  ORDER BY ended_at, id";
    let since = now - CONTACT_TOLD_ON_S;
    let ended = sql.query(ended, &values![account, way.name(), since])?;
    let now_there = "SELECT id, target FROM contacts
                      WHERE account = (SELECT id FROM accounts WHERE name = ?1) AND way = ?2 AND ended_at IS NULL";
    let Some(contact) = sql.query_opt(now_there, &values![account, way.name()])? else {
        return Ok(());
    };
    let (id, target): (i64, String) = (contact.get(0)?, contact.get(1)?);
    let mut is_known = false;
    for row in &ended {
        is_known |= row.get::<String>(1)? == target;
    }
    if is_known || ended.len() >= CONTACTS_ENDED_MAX {
        return delete_contact(sql, id);
    }
    sql.execute(
        "UPDATE contacts SET ended_at = ?2 WHERE id = ?1",
        &values![id, now],
    )?;
    Ok(())
}

fn delete_contact(sql: &mut dyn Sql, id: i64) -> Result<(), SqlError> {
    let deliveries = "DELETE FROM alert_deliveries WHERE contact = ?1";
    sql.execute(deliveries, &values![id])?;
    sql.execute("DELETE FROM contacts WHERE id = ?1", &values![id])?;
    Ok(())
}

/// Writes what happened to an account at that time (Unix seconds), for each contact that was there by then, if the
/// account wants to be told. What is written already stays as it is.
///
/// # Errors
/// See [`SqlError`].
pub fn note(sql: &mut dyn Sql, account: &str, at: i64, event: &AlertEvent) -> Result<(), SqlError> {
    let is_takeover = i64::from(event.is_takeover());
    let hears = format!(
        "c.added_at <= ?1 AND (c.ended_at IS NULL OR (CAST(?2 AS BIGINT) = 1 AND c.ended_at > ?1 - {CONTACT_TOLD_ON_S}))"
    );
    let contacts = sql.query(
        &format!(
            "SELECT c.id, c.account FROM contacts AS c JOIN accounts AS a ON a.id = c.account
               JOIN alert_settings AS s ON s.account = a.id
              WHERE a.name = ?3 AND {} AND {hears}
                AND (SELECT count(*) FROM alert_deliveries AS d WHERE d.contact = c.id) < {ALERTS_OF_ACCOUNT_MAX}",
            event.is_wanted()
        ),
        &values![at, is_takeover, account],
    )?;
    let Some(first) = contacts.first() else {
        return Ok(());
    };
    let written = sql.query_opt(
        "INSERT INTO alerts (account, at, kind, subject, event) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (account, kind, subject) DO NOTHING RETURNING id",
        &values![
            first.get::<i64>(1)?,
            at,
            event.kind(),
            event.subject(at),
            event.to_json()
        ],
    )?;
    let Some(written) = written else {
        return Ok(());
    };
    let alert: i64 = written.get(0)?;
    for contact in &contacts {
        let contact: i64 = contact.get(0)?;
        sql.execute(
            "INSERT INTO alert_deliveries (contact, alert) VALUES (?1, ?2)",
            &values![contact, alert],
        )?;
    }
    Ok(())
}

/// A contact that is to be told something now.
pub struct DueContact {
    id: i64,
    /// Its account's name.
    pub account: String,
    /// The address, the chat, or the topic.
    pub target: String,
    /// Of messages.
    pub language: Language,
    /// It is the account's no more, and is told of changes without what they are to.
    pub is_ended: bool,
    tries: i64,
    /// Ids of the alerts, oldest first.
    alerts: Vec<i64>,
    /// What happened, oldest first, and when.
    pub events: Vec<(i64, AlertEvent)>,
}

/// The contacts of that way that are to be told something now, those that have waited longest first; not many at a time.
/// What comes shortly after something else is told with it.
///
/// # Errors
/// See [`SqlError`].
pub fn due(sql: &mut dyn Sql, way: Way, now: i64) -> Result<Vec<DueContact>, SqlError> {
    let rows = sql.query(
        &format!(
        "SELECT c.id, a.name, c.target, s.language, c.tries,
                CASE WHEN c.ended_at IS NULL THEN 0 ELSE 1 END
           FROM contacts AS c JOIN accounts AS a ON a.id = c.account JOIN alert_settings AS s ON s.account = a.id
          WHERE c.way = ?1 AND c.try_at <= ?2
            AND EXISTS (SELECT 1 FROM alert_deliveries AS d JOIN alerts AS e ON e.id = d.alert
                         WHERE d.contact = c.id AND e.at <= ?2 - CAST(?3 AS BIGINT))
          ORDER BY c.try_at, c.id LIMIT {CONTACTS_IN_A_TURN}"
        ),
        &values![way.name(), now, ALERT_GATHER_S],
    )?;
    let mut contacts = Vec::with_capacity(rows.len());
    for row in &rows {
        let id: i64 = row.get(0)?;
        let waiting = sql.query(
            "SELECT e.id, e.at, e.event FROM alert_deliveries AS d JOIN alerts AS e ON e.id = d.alert
              WHERE d.contact = ?1 ORDER BY e.at, e.id",
            &values![id],
        )?;
        let mut contact = DueContact {
            id,
            account: row.get(1)?,
            target: row.get(2)?,
            language: language_of(&row.get::<String>(3)?),
            tries: row.get(4)?,
            is_ended: row.get::<i64>(5)? == 1,
            alerts: Vec::new(),
            events: Vec::new(),
        };
        for alert in &waiting {
            contact.alerts.push(alert.get(0)?);
            // Another version's event may be of a kind that this one does not know.
            if let Ok(event) = serde_json::from_str(&alert.get::<String>(2)?) {
                contact.events.push((alert.get(1)?, event));
            }
        }
        contacts.push(contact);
    }
    Ok(contacts)
}

/// Writes that a contact has taken a message about all that it was due.
///
/// # Errors
/// See [`SqlError`].
pub fn told(sql: &mut dyn Sql, contact: &DueContact, now: i64) -> Result<(), SqlError> {
    for alert in &contact.alerts {
        sql.execute(
            "DELETE FROM alert_deliveries WHERE contact = ?1 AND alert = ?2",
            &values![contact.id, *alert],
        )?;
    }
    sql.execute(
        "UPDATE contacts SET told_at = ?2, try_at = ?3, tries = 0, failure = NULL WHERE id = ?1",
        &values![contact.id, now, now + ALERT_PAUSE_S],
    )?;
    Ok(())
}

/// Writes why a contact has not taken it, and when it is tried again.
///
/// # Errors
/// See [`SqlError`].
pub fn failed(
    sql: &mut dyn Sql,
    contact: &DueContact,
    reason: &str,
    now: i64,
) -> Result<(), SqlError> {
    let wait = ALERT_RETRY_S << contact.tries.clamp(0, 16);
    sql.execute(
        "UPDATE contacts SET failure = ?2, tries = tries + 1, try_at = ?3 WHERE id = ?1",
        &values![contact.id, reason, now + wait.min(ALERT_RETRY_S_MAX)],
    )?;
    Ok(())
}

/// Gives up what could not be told for a day, and forgets what is over.
///
/// # Errors
/// See [`SqlError`].
pub fn tidy(sql: &mut dyn Sql, now: i64) -> Result<(), SqlError> {
    let too_old = "SELECT id FROM alerts WHERE at < ?1";
    let tried_from: [Value; 1] = values![now - ALERTS_TRIED_S];
    sql.execute(
        &format!(
            "UPDATE contacts SET given_up = given_up +
               (SELECT count(*) FROM alert_deliveries AS d WHERE d.contact = contacts.id AND d.alert IN ({too_old}))
              WHERE id IN (SELECT contact FROM alert_deliveries WHERE alert IN ({too_old}))"
        ),
        &tried_from,
    )?;
    sql.execute(
        &format!("DELETE FROM alert_deliveries WHERE alert IN ({too_old})"),
        &tried_from,
    )?;
    let over = "SELECT id FROM contacts WHERE ended_at <= ?1";
    let ended: [Value; 1] = values![now - CONTACT_TOLD_ON_S];
    sql.execute(
        &format!("DELETE FROM alert_deliveries WHERE contact IN ({over})"),
        &ended,
    )?;
    sql.execute("DELETE FROM contacts WHERE ended_at <= ?1", &ended)?;
    sql.execute(
        "DELETE FROM alerts WHERE at < ?1
            AND NOT EXISTS (SELECT 1 FROM alert_deliveries AS d WHERE d.alert = alerts.id)",
        &values![now - ALERTS_KEPT_S],
    )?;
    Ok(())
}
