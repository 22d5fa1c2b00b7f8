//! Text with names that strangers have chosen, for chats and mail.

/// Breaks up everything that a chat or a mail program would turn into a link or a mention, by inserting a zero-width
/// space.
pub(crate) fn without_links(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        let begins = matches!(
            before,
            '[' | ']' | '<' | '@' | '#' | '!' | '`' | '*' | '~' | '|'
        );
        if begins || (before == ':' && c == '/') || (is_dot(before) && c.is_alphanumeric()) {
            shown.push('\u{200b}');
        }
        shown.push(c);
        before = c;
    }
    shown
}

/// True for what separates the parts of a domain's name, as browsers read it.
fn is_dot(c: char) -> bool {
    matches!(c, '.' | '。' | '．' | '｡' | '․')
}
