//! What Python's `%` makes of a template and the text of its arguments, as far as both are plain:
//! texts, numbers, `None`, `True`, `False`; anything else stands as Python shows it.

/// An argument, as it is shown, and its value where it is a text.
struct Argument<'a> {
    shown: &'a str,
    text: Option<String>,
}

/// The template with its arguments put in; none when they do not fit together.
pub(crate) fn format(template: &str, args: &str) -> Option<String> {
    let mut arguments = arguments(args)?.into_iter();
    let mut out = String::new();
    let mut rest = template;
    while let Some((plain, behind)) = rest.split_once('%') {
        out.push_str(plain);
        if let Some(behind) = behind.strip_prefix('%') {
            out.push('%');
            rest = behind;
            continue;
        }
        let end = behind.find(|c: char| c.is_ascii_alphabetic() || c == '(')?;
        let (how, behind) = behind.split_at(end);
        let kind = behind.chars().next()?;
        out.push_str(&one(how, kind, &arguments.next()?)?);
        rest = behind.get(1..)?;
    }
    out.push_str(rest);
    arguments.next().is_none().then_some(out)
}

/// The arguments of a tuple as Python shows it.
fn arguments(tuple: &str) -> Option<Vec<Argument<'_>>> {
    let mut rest = tuple.trim().strip_prefix('(')?.strip_suffix(')')?;
    let mut all = Vec::new();
    while !rest.trim().is_empty() {
        let end = end_of(rest)?;
        let (shown, behind) = rest.split_at(end);
        let shown = shown.trim();
        all.push(Argument { shown, text: unquoted(shown) });
        rest = behind.strip_prefix(',').unwrap_or(behind);
    }
    Some(all)
}

/// Where an argument ends: at a comma outside quotes and brackets.
fn end_of(text: &str) -> Option<usize> {
    let (mut depth, mut quote, mut escaped) = (0_i32, None, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '(' | '[' | '{' | '<') => depth += 1,
            (None, ')' | ']' | '}' | '>') => depth -= 1,
            (None, ',') if depth == 0 => return Some(at),
            _ => {}
        }
    }
    (quote.is_none() && depth == 0).then_some(text.len())
}

/// A text without its quotes and escapes.
fn unquoted(shown: &str) -> Option<String> {
    let quote = shown.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let inner = shown.strip_prefix(quote)?.strip_suffix(quote)?;
    let mut text = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        let digits = match chars.next()? {
            'n' => {
                text.push('\n');
                continue;
            }
            't' => {
                text.push('\t');
                continue;
            }
            'r' => {
                text.push('\r');
                continue;
            }
            'x' => 2,
            'u' => 4,
            'U' => 8,
            other => {
                text.push(other);
                continue;
            }
        };
        let code: String = chars.by_ref().take(digits).collect();
        text.push(char::from_u32(u32::from_str_radix(&code, 16).ok()?)?);
    }
    Some(text)
}

/// One argument as its place in the template wants it.
fn one(how: &str, kind: char, argument: &Argument<'_>) -> Option<String> {
    let flags = how.find(|c: char| !matches!(c, '-' | '0' | '+' | ' ' | '#')).unwrap_or(how.len());
    let (flags, size) = how.split_at(flags);
    let (width, precision) = match size.split_once('.') {
        Some((width, precision)) => (width, Some(precision.parse::<usize>().ok()?)),
        None => (size, None),
    };
    let width = if width.is_empty() { 0 } else { width.parse::<usize>().ok()? };
    if width > 1000 || precision.is_some_and(|digits| digits > 100) {
        return None;
    }
    let number = || argument.shown.parse::<f64>().ok().filter(|_| argument.text.is_none());
    let text = match kind {
        's' | 'r' => {
            let whole = argument.text.as_deref().filter(|_| kind == 's').unwrap_or(argument.shown);
            whole.chars().take(precision.unwrap_or(usize::MAX)).collect()
        }
        'd' | 'i' => match argument.shown.parse::<i128>() {
            Ok(whole) => whole.to_string(),
            Err(_) => format!("{:.0}", number()?.trunc()),
        },
        'f' | 'F' => format!("{:.*}", precision.unwrap_or(6), number()?),
        'x' => format!("{:x}", argument.shown.parse::<u128>().ok()?),
        _ => return None,
    };
    let text = if flags.contains('+') && kind != 's' && !text.starts_with('-') {
        format!("+{text}")
    } else {
        text
    };
    let missing = width.saturating_sub(text.chars().count());
    Some(if flags.contains('-') {
        format!("{text}{}", " ".repeat(missing))
    } else if flags.contains('0') && kind != 's' && kind != 'r' {
        let (sign, digits) = text.split_at(usize::from(text.starts_with(['-', '+'])));
        format!("{sign}{}{digits}", "0".repeat(missing))
    } else {
        format!("{}{text}", " ".repeat(missing))
    })
}

#[cfg(test)]
mod tests {
    use super::format;

    #[test]
    fn arguments_are_put_in_as_python_does() {
        for (template, args, expected) in [
            ("%s is %d", "('a, b', 7)", Some("a, b is 7")),
            ("%5.1f|%-4s|%04d|%+d", "(2.25, 'x', -7, 3)", Some("  2.2|x   |-007|+3")),
            ("%s %r %s", "(\"it's\", 'q', None)", Some("it's 'q' None")),
            ("%s", "([1, 'a', (2, 3)],)", Some("[1, 'a', (2, 3)]")),
            ("%s", "(<Foo object at 0x7f>,)", Some("<Foo object at 0x7f>")),
            ("100%% of %s", "('\\n\\u98ce',)", Some("100% of \n风")),
            ("%x", "(255,)", Some("ff")),
            ("%d", "('x',)", None),
            ("%s %s", "('x',)", None),
            ("%s", "('x', 'y')", None),
            ("%(a)s", "({'a': 1},)", None),
            ("%99999999s", "('x',)", None),
            ("%s", "('x", None),
            ("%", "('x',)", None),
        ] {
            assert_eq!(format(template, args).as_deref(), expected, "{template} {args}");
        }
    }
}
