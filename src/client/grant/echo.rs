//! Searches an error description for secrets of the request, before it may be shown.
//!
//! Servers and proxies repeat secrets in many encodings: what can be decoded in the description is decoded,
//! twice over, and each secret is looked for forwards and backwards, whatever the case and whatever was
//! inserted between its characters; and in base64 whose case was lost. In doubt the description isn't shown,
//! and the error code stays.

use zeroize::Zeroizing;

use crate::credentials::form::{Space, encode_into};

/// The length of a part that gives a secret away. Of a shorter secret, all but one character do.
const PART: usize = 8;

/// The least length of an encoded secret that is searched for, unless the secret itself is shorter.
const SHORTEST: usize = 4;

/// A form longer than this still contains a part if one of its characters is missing.
const LONGEST_WITHOUT_PART: usize = 16;

type Text = Zeroizing<Vec<u8>>;

/// Collects bytes into a buffer of sufficient capacity: one that grew would leave copies behind.
fn text(bytes: impl Iterator<Item = u8>) -> Text {
    let most = bytes.size_hint().1.unwrap_or_default();
    let mut text = Zeroizing::new(Vec::with_capacity(most));
    text.extend(bytes);
    text
}

/// Returns `true` if nothing of `secrets` is in `words`.
pub(crate) fn is_free_of<'a>(words: &str, secrets: impl Iterator<Item = &'a [u8]>) -> bool {
    if words.is_empty() {
        return true;
    }
    let secrets = Forms::new(secrets);
    let plain = plain(words);
    let once = distinct(plain.iter().flat_map(|text| decode(text)));
    let once = distinct(once.iter().flat_map(|text| [text.clone(), unescape(text)]));
    let is_in = |text: Text, was_decoded| secrets.are_in(&text, was_decoded);
    let in_plain = plain.iter().any(|it| is_in(squeeze(it), false) || is_in(strip(it), false));
    let in_once = || once.iter().any(|text| is_in(squeeze(text), true));
    let in_twice =
        |text: &Text| decode_usual(&graphic(text)).any(|text| is_in(squeeze(&text), true));
    !in_plain && !in_once() && !once.iter().any(in_twice)
}

/// Returns the text forwards and backwards, with and without its escapes: some servers escape two or three
/// times.
fn plain(words: &str) -> Vec<Text> {
    let forwards = Zeroizing::new(words.as_bytes().to_vec());
    let mut plain = vec![reversed(&forwards), forwards];
    for _ in 0..3 {
        plain = distinct(plain.iter().flat_map(|text| [text.clone(), unescape(text)]));
    }
    plain
}

/// The forms in which the secrets may be written, and the parts of these, sorted.
struct Forms {
    /// Short forms, which are searched for everywhere.
    short: Vec<Text>,
    /// Short forms, which aren't searched for in decoded text.
    short_coded: Vec<Text>,
    parts: Zeroizing<Vec<u64>>,
}

impl Forms {
    fn new<'a>(secrets: impl Iterator<Item = &'a [u8]>) -> Self {
        let (mut written, mut coded) = (Vec::new(), Vec::new());
        for secret in secrets {
            let (plus, percent) = (encoded(secret, Space::Plus), encoded(secret, Space::Percent20));
            let spaces = text(secret.iter().map(|byte| if *byte == b' ' { b'+' } else { *byte }));
            let mut forms = Vec::new();
            // Text from a URL is escaped already.
            for text in [secret, &*spaces, &*unescape(secret)] {
                forms.extend([squeeze(text), strip(text), rotated(&squeeze(text))]);
            }
            forms.extend(forms.iter().map(|form| reversed(form)).collect::<Vec<_>>());
            // The few letters and digits of such a secret may occur anywhere by chance.
            let least = SHORTEST.min(squeeze(secret).len());
            forms.retain(|form| form.len() >= least);
            written.append(&mut forms);
            let texts = distinct([secret.to_vec().into(), plus, percent].into_iter());
            let base64 = texts.iter().flat_map(|text| (0..3).map(|at| strip(&base64(text, at))));
            // A form so short may occur anywhere by chance.
            coded.extend(base64.filter(|form| form.len() >= SHORTEST));
        }
        let forms = || written.iter().chain(&coded);
        let mut sorted = Zeroizing::new(Vec::with_capacity(forms().map(|form| form.len()).sum()));
        sorted.extend(forms().flat_map(parts));
        sorted.sort_unstable();
        let is_short = |form: &Text| (1..=LONGEST_WITHOUT_PART).contains(&form.len());
        let short = |forms: Vec<Text>| distinct(forms.into_iter().filter(is_short));
        Self { short: short(written), short_coded: short(coded), parts: sorted }
    }

    fn are_in(&self, text: &Text, was_decoded: bool) -> bool {
        let is_in = |form: &Text| match form.len() {
            // So few characters occur by chance in wrongly decoded text; so do all but one of a few
            // more.
            1..=3 => !was_decoded && has(text, form),
            4..=5 if was_decoded => has(text, form),
            _ => has_most(text, form),
        };
        self.short.iter().any(is_in)
            || (!was_decoded && self.short_coded.iter().any(is_in))
            || parts(text).any(|part| self.parts.binary_search(&part).is_ok())
    }
}

fn parts(text: &Text) -> impl Iterator<Item = u64> {
    text.windows(PART).filter_map(|part| part.try_into().ok().map(u64::from_ne_bytes))
}

fn encoded(text: &[u8], space: Space) -> Text {
    let mut form = Zeroizing::new(Vec::with_capacity(text.len().saturating_mul(3)));
    encode_into(&mut form, text, space);
    form
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Writes bytes in base64 as they appear after `at` other bytes, without the characters that depend on the
/// bytes before and after.
fn base64(bytes: &[u8], at: usize) -> Text {
    let mut digits = Zeroizing::new(Vec::with_capacity(bytes.len().saturating_mul(2)));
    // The bits of the first byte that belong to a character with bits of the byte before.
    let skipped = [0_u32, 4, 2].get(at).copied().unwrap_or_default();
    let (mut buffer, mut held) = (0_u32, 0_u32);
    for (n, byte) in bytes.iter().enumerate() {
        buffer = (buffer << 8 | u32::from(*byte)) & 0xffff;
        held = held.saturating_add(if n == 0 { 8_u32.saturating_sub(skipped) } else { 8 });
        while held >= 6 {
            held = held.saturating_sub(6);
            let value = usize::try_from(buffer >> held & 63).unwrap_or_default();
            digits.extend(BASE64.get(value));
        }
    }
    digits
}

/// Reads a text as digits of so many bits each, and skips other characters.
fn from_digits(text: &[u8], bits: u32, skip: usize, value: impl Fn(u8) -> Option<u32>) -> Text {
    let mut decoded = Zeroizing::new(Vec::with_capacity(text.len()));
    let (mut buffer, mut held) = (0_u32, 0_u32);
    for digit in text.iter().filter_map(|byte| value(*byte)).skip(skip) {
        buffer = (buffer << bits | digit) & 0xffff;
        held = held.saturating_add(bits);
        if held >= 8 {
            held = held.saturating_sub(8);
            decoded.push(u8::try_from(buffer >> held & 0xff).unwrap_or_default());
        }
    }
    decoded
}

/// Decodes a text as hexadecimal, base64, base32 and binary at each alignment, and as a list of character
/// codes.
fn decode(text: &[u8]) -> impl Iterator<Item = Text> {
    let base32 = |byte: u8| match byte {
        b'2'..=b'7' => Some(u32::from(byte.saturating_sub(b'2')).saturating_add(26)),
        _ => char::from(byte).to_digit(36).and_then(|it| it.checked_sub(10)),
    };
    let base32_hex = |byte| char::from(byte).to_digit(32);
    let binary = |byte| char::from(byte).to_digit(2);
    decode_usual(text)
        .chain((0..8).map(move |skip| from_digits(text, 5, skip, base32)))
        .chain((0..8).map(move |skip| from_digits(text, 5, skip, base32_hex)))
        .chain((0..8).map(move |skip| from_digits(text, 1, skip, binary)))
        .chain([2, 8, 10, 16].map(move |radix| numbers(text, radix)))
}

/// Decodes a text as hexadecimal and base64 at each alignment.
fn decode_usual(text: &[u8]) -> impl Iterator<Item = Text> {
    let hex = |byte| char::from(byte).to_digit(16);
    let base64 = |byte: u8| {
        let (first, value) = match byte {
            b'A'..=b'Z' => (b'A', 0),
            b'a'..=b'z' => (b'a', 26),
            b'0'..=b'9' => (b'0', 52),
            b'+' | b'-' => return Some(62),
            b'/' | b'_' => return Some(63),
            _ => return None,
        };
        Some(u32::from(byte.saturating_sub(first)).saturating_add(value))
    };
    let hex = (0..2).map(move |skip| from_digits(text, 4, skip, hex));
    hex.chain((0..4).map(move |skip| from_digits(text, 6, skip, base64)))
}

/// Decodes a list of character codes, as in `63 61 6e`, `\\x63\\x61` or `99, 97`.
fn numbers(bytes: &[u8], radix: u32) -> Text {
    let words = bytes.split(|it| !it.is_ascii_alphanumeric() || b"uUxX".contains(it));
    let number =
        |word| u8::try_from(u32::from_str_radix(str::from_utf8(word).ok()?, radix).ok()?).ok();
    text(words.filter_map(number))
}

/// Undoes the escapes of URLs, HTML, JSON and quoted-printable, in one pass.
fn unescape(text: &[u8]) -> Text {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let (byte, after) = escaped(*first, tail).unwrap_or((*first, tail));
        out.push(byte);
        rest = after;
    }
    out
}

fn escaped(first: u8, tail: &[u8]) -> Option<(u8, &[u8])> {
    match (first, tail) {
        // Overlong UTF-8 encodings of ASCII.
        (0xc0 | 0xc1, [low @ 0x80..=0xbf, after @ ..]) => {
            Some(((first & 1) << 6 | low & 0x3f, after))
        }
        (0xe0, [high @ (0x80 | 0x81), low @ 0x80..=0xbf, after @ ..]) => {
            Some(((high & 1) << 6 | low & 0x3f, after))
        }
        (b'%' | b'\\', [b'u', b'{', digits @ ..]) => number(digits, 16, 8),
        (b'%' | b'\\', [b'u', digits @ ..]) => number(digits, 16, 4),
        (b'%' | b'=', digits) => number(digits, 16, 2),
        (b'\\', [b'U', digits @ ..]) => number(digits, 16, 8),
        (b'\\', [b'x', digits @ ..]) => number(digits, 16, 2),
        (b'\\', [b'0'..=b'7', ..]) => number(tail, 8, 3),
        (b'\\', [byte, after @ ..]) => Some((*byte, after)),
        (b'&', [b'#', b'x' | b'X', digits @ ..]) => number(digits, 16, 32),
        (b'&', [b'#', digits @ ..]) => number(digits, 10, 32),
        (b'&', _) => ENTITIES.iter().find_map(|(name, byte)| {
            let after = tail.strip_prefix(name.as_bytes())?;
            Some((*byte, after.strip_prefix(b";").unwrap_or(after)))
        }),
        _ => None,
    }
}

/// Reads a number of up to `longest` digits, and its terminator.
fn number(text: &[u8], radix: u32, longest: usize) -> Option<(u8, &[u8])> {
    let digits =
        text.iter().take(longest).take_while(|it| char::from(**it).is_digit(radix)).count();
    let (digits, after) = text.split_at_checked(digits)?;
    let value = u32::from_str_radix(str::from_utf8(digits).ok()?, radix).ok()?;
    let after = after.strip_prefix(b";").or(after.strip_prefix(b"}")).unwrap_or(after);
    Some((u8::try_from(value).ok()?, after))
}

/// HTML's names of ASCII characters. A name that is a prefix of another comes after it.
const ENTITIES: [(&str, u8); 36] = [
    ("amp", b'&'),
    ("AMP", b'&'),
    ("apos", b'\''),
    ("ast", b'*'),
    ("bsol", b'\\'),
    ("colon", b':'),
    ("commat", b'@'),
    ("comma", b','),
    ("dollar", b'$'),
    ("equals", b'='),
    ("excl", b'!'),
    ("grave", b'`'),
    ("gt", b'>'),
    ("GT", b'>'),
    ("Hat", b'^'),
    ("lbrace", b'{'),
    ("lcub", b'{'),
    ("lbrack", b'['),
    ("lsqb", b'['),
    ("lowbar", b'_'),
    ("lpar", b'('),
    ("lt", b'<'),
    ("LT", b'<'),
    ("num", b'#'),
    ("percnt", b'%'),
    ("period", b'.'),
    ("plus", b'+'),
    ("quest", b'?'),
    ("quot", b'"'),
    ("rbrace", b'}'),
    ("rcub", b'}'),
    ("rbrack", b']'),
    ("rsqb", b']'),
    ("rpar", b')'),
    ("semi", b';'),
    ("sol", b'/'),
];

/// Makes texts comparable: in small letters, without spaces and characters that aren't printed.
fn squeeze(bytes: &[u8]) -> Text {
    let kept = bytes.iter().filter(|byte| byte.is_ascii_graphic() || !byte.is_ascii());
    text(kept.map(u8::to_ascii_lowercase))
}

/// Keeps the characters that may be digits of another encoding.
fn graphic(bytes: &[u8]) -> Text {
    text(bytes.iter().copied().filter(u8::is_ascii_graphic))
}

/// ROT13.
fn rotated(bytes: &[u8]) -> Text {
    let rotate = |byte: &u8| match byte {
        b'a'..=b'm' => byte.saturating_add(13),
        b'n'..=b'z' => byte.saturating_sub(13),
        _ => *byte,
    };
    text(bytes.iter().map(rotate))
}

/// Keeps letters and digits only, in small letters.
fn strip(bytes: &[u8]) -> Text {
    let kept = bytes.iter().filter(|byte| byte.is_ascii_alphanumeric());
    text(kept.map(u8::to_ascii_lowercase))
}

fn has(text: &[u8], form: &[u8]) -> bool {
    text.windows(form.len()).any(|window| window == form)
}

/// Returns `true` if all of `form`, or all of it but one character, is in the text.
///
/// That one character may be replaced by another: in a short form only by one that masks it, since `secret`
/// isn't `s3cret`.
fn has_most(text: &[u8], form: &[u8]) -> bool {
    let long = form.len() >= PART;
    (0..text.len()).any(|start| {
        let text = text.get(start..).unwrap_or_default();
        let equal = text.iter().zip(form).take_while(|(a, b)| a == b).count();
        let rest = text.get(equal..).unwrap_or_default();
        form.get(equal.saturating_add(1)..).is_none_or(|after| {
            let masked = rest.split_first().is_some_and(|(instead, rest)| {
                (long || !instead.is_ascii_alphanumeric()) && rest.starts_with(after)
            });
            masked || rest.starts_with(after)
        })
    })
}

fn reversed(text: &[u8]) -> Text {
    Zeroizing::new(text.iter().rev().copied().collect())
}

fn distinct(texts: impl Iterator<Item = Text>) -> Vec<Text> {
    let mut texts: Vec<Text> = texts.collect();
    texts.sort_unstable_by(|a, b| a.as_slice().cmp(b));
    texts.dedup();
    texts
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};
    use proptest::prelude::*;

    use super::*;

    fn is_shown(words: &str, secret: &str) -> bool {
        is_free_of(words, std::iter::once(secret.as_bytes()))
    }

    type Encoding = fn(&[u8]) -> String;

    fn each(bytes: &[u8], write: impl Fn(u8) -> String) -> String {
        bytes.iter().map(|byte| write(*byte)).collect()
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    /// Some of what a server or a proxy may make of a text.
    const ENCODINGS: [Encoding; 37] = [
        text,
        |it| text(it).to_uppercase(),
        |it| text(it).to_lowercase(),
        |it| each(it, |byte| format!("%{byte:02x}")),
        |it| each(it, |byte| format!("%25{byte:02X}")),
        |it| {
            let mut form = Vec::new();
            encode_into(&mut form, it, Space::Plus);
            text(&form).to_lowercase()
        },
        |it| each(it, |byte| format!("&#{byte};")),
        |it| each(it, |byte| format!("&#x{byte:04X};")),
        |it| each(it, |byte| format!("&amp;#{byte:03};")),
        |it| each(it, |byte| format!("\\u{byte:04x}")),
        |it| each(it, |byte| format!("\\x{byte:02X}")),
        |it| each(it, |byte| format!("\\{byte:03o}")),
        |it| each(it, |byte| format!("{byte:02x}")),
        |it| each(it, |byte| format!("{byte:02X}:")),
        |it| each(it, |byte| format!("0x{byte:x}, ")),
        |it| each(it, |byte| format!("{byte} ")),
        |it| each(it, |byte| format!("={byte:02X}")),
        |it| BASE64_STANDARD.encode(it),
        |it| BASE64_URL_SAFE_NO_PAD.encode(it),
        |it| BASE64_STANDARD.encode(BASE64_STANDARD.encode(it)),
        |it| BASE64_STANDARD.encode(each(it, |byte| format!("%{byte:02X}"))),
        |it| each(BASE64_STANDARD.encode(it).as_bytes(), |byte| format!("%{byte:02X}")),
        |it| each(it, |byte| format!("{} ", char::from(byte))),
        |it| text(it).chars().rev().collect(),
        |it| each(it, |byte| format!("{byte:08b}")),
        |it| each(it, |byte| format!(" {byte:b} ")),
        |it| base32(it, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
        |it| base32(it, b"0123456789abcdefghijklmnopqrstuv"),
        |it| each(it, |byte| format!("%{:02X}%{:02X}", 0xc0 | byte >> 6, 0x80 | byte & 0x3f)),
        |it| each(it, |byte| format!("%e0%{:02x}%{:02x}", 0x80 | byte >> 6, 0x80 | byte & 0x3f)),
        |it| each(it, |byte| format!("{}\0", char::from(byte))),
        |it| each(it, |byte| format!("%00%{byte:02x}")),
        |it| each(it, |byte| format!("\\u{{{byte:x}}}")),
        |it| each(it, |byte| format!("&#{byte:012};")),
        |it| BASE64_STANDARD.encode(each(it, |byte| format!("{}\0", char::from(byte)))),
        |it| each(it, |byte| format!("{byte:02x}")).chars().rev().collect(),
        |it| each(it, |byte| char::from(rot13(byte)).to_string()),
    ];

    fn base32(bytes: &[u8], alphabet: &[u8; 32]) -> String {
        let bits = each(bytes, |byte| format!("{byte:08b}"));
        let digit = |bits: &[u8]| {
            let value = u8::from_str_radix(&format!("{:0<5}", text(bits)), 2).unwrap();
            char::from(alphabet[usize::from(value)])
        };
        bits.as_bytes().chunks(5).map(digit).collect()
    }

    fn rot13(byte: u8) -> u8 {
        match byte.to_ascii_lowercase() {
            b'a'..=b'm' => byte + 13,
            b'n'..=b'z' => byte - 13,
            _ => byte,
        }
    }

    /// What is encoded along with the secret.
    const AROUND: [(&str, &str); 5] = [
        ("", ""),
        ("me:", ""),
        ("a", "bc"),
        ("client_secret=", "&x=y"),
        ("the client ", " is bad"),
    ];

    // FC4: with any text before and after, whole or but for one character.
    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn fc4_no_secret_is_shown_in_any_encoding(
            secret in "[ -~]{2}[!-~]{6}[ -~]{0,60}",
            encoding in 0..ENCODINGS.len(),
            around in 0..AROUND.len(),
            dropped in proptest::option::of(any::<prop::sample::Index>()),
            backwards: bool,
            outer in "[a-z ]{0,12}",
        ) {
            let mut written = secret.clone();
            if let Some(at) = dropped {
                written.remove(at.index(written.len()));
            }
            let (before, after) = AROUND[around];
            let mut words = ENCODINGS[encoding](format!("{before}{written}{after}").as_bytes());
            if backwards {
                words = words.chars().rev().collect();
            }
            let words = format!("{outer}{words}{outer}");
            prop_assert!(!is_shown(&words, &secret), "{words}");
        }

        // FC4: nor a part of one that was cut.
        #[test]
        fn fc4_no_part_of_a_secret_is_shown(
            secret in "[A-Za-z0-9]{24,60}", encoding in 0..ENCODINGS.len(), cut in 12_usize..24,
        ) {
            let words = ENCODINGS[encoding](&secret.as_bytes()[..cut]);
            prop_assert!(!is_shown(&words, &secret), "{words}");
            let words = ENCODINGS[encoding](&secret.as_bytes()[secret.len() - cut..]);
            prop_assert!(!is_shown(&words, &secret), "{words}");
        }

        #[test]
        fn any_words_are_read_to_their_end(words: String, secret: Vec<u8>) {
            is_free_of(&words, std::iter::once(&*secret));
        }
    }

    // FC4: a parameter's value may be of any characters.
    #[test]
    fn fc4_what_is_not_ascii_is_found_too() {
        for (secret, words) in [
            ("пароль", "пароль"),
            ("пароль", "%D0%BF%D0%B0%D1%80%D0%BE%D0%BB%D1%8C"),
            ("пароль", "0L/QsNGA0L7Qu9GM"),
            ("пароль", "d0bfd0b0d180d0bed0bbd18c"),
            ("geh\u{e9}im-w\u{f6}rter", "geh%c3%a9im-w%c3%b6rter"),
            ("geh\u{e9}im-w\u{f6}rter", "GEH\u{e9}IM-W\u{f6}RTER"),
        ] {
            assert!(!is_shown(&format!("it is {words} that is wrong"), secret), "{words}");
        }
        assert!(is_shown("client authentication failed", "пароль"));
    }

    // FC4, the good case: what servers really say is shown.
    #[test]
    fn fc4_what_is_harmless_is_shown() {
        for words in [
            "Client authentication failed (e.g., unknown client, no client authentication included)",
            "Invalid client or Invalid client credentials",
            "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request \
             is the client secret value, not the client secret ID, for a secret added to app \
             'b2a5e8a0-21f7-4b1b-a1b2-3f4e5d6c7b8a'. Trace ID: 7d1f0a9e-5b5c-4d7e-8f90-123456789abc",
            "AADSTS700016: Application with identifier 'x' was not found in the directory 'Acme & Co.'",
            "Parameter not allowed: https%3A%2F%2Fapi.example.com%2F",
            "invalid_scope: orders:write",
            "The scope orders&#58;write isn&#39;t known",
            "unauthorized_client",
        ] {
            for secret in [
                "s3cr8t",
                "7Fjfp0ZBr1KtDRbnfVdmIw",
                "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                "p%:+/ &=s",
                "Xk8~Q.canary-value_0123",
                "tenant-7",
            ] {
                assert!(is_shown(words, secret), "{words} hides behind {secret}");
            }
        }
    }

    #[test]
    fn fc4_a_short_secret_is_found_whole_and_a_longer_one_but_for_a_character() {
        for (words, secret) in [
            ("it is k9!", "k9!"),
            ("it is s3cr8", "s3cr8t"),
            ("it is s3c*8t", "s3cr8t"),
            ("it is s3cr 8t", "s3cr8t"),
            ("it is t8rc3s", "s3cr8t"),
            ("it is s-3-c-r-8-t", "s3cr8t"),
            ("it is czNjcjh0", "s3cr8t"),
            ("it is s3cr/8+tword", "s3cr%2F8%2btword"),
            ("it is czNjci84K3R3b3Jk", "s3cr%2F8%2Btword"),
            ("it is cznjcjh0d29yza==", "s3cr8tword"),
            ("it is BWU6CZNJCJH0D29YZA", "s3cr8tword"),
        ] {
            assert!(!is_shown(words, secret), "{words}");
        }
        assert!(!is_shown("it is s3cr8tXord", "s3cr8tword"));
        assert!(is_shown("it is another", "s3cr8t") && is_shown("it is wrong", ""));
        assert!(is_shown("client_secret=? is wrong", "s3cret"));
    }
}
