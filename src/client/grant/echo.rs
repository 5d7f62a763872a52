//! Whether a server's words repeat what only the server should know.
//!
//! Words that are shown have been searched for every secret of the request, in all the encodings
//! that servers and proxies have: what can be decoded in the words is decoded, twice over, and each
//! secret is looked for as it is, as a form has it, and in hexadecimal, base32 and base64 at any
//! alignment; forwards and backwards, whatever the case, and whatever was put in between. Doubt
//! speaks against the words: they are lost at worst, and the error code stays.

use zeroize::Zeroizing;

use crate::credentials::form::{Space, encode_into};

/// So long a part of a secret gives it away. Of shorter ones, all but one character do.
const PART: usize = 8;

/// So long must be what a secret is written as, unless it is shorter itself.
const SHORTEST: usize = 4;

type Text = Zeroizing<Vec<u8>>;

/// Returns `true` if nothing of `secrets` is in `words`.
pub(crate) fn is_free_of<'a>(words: &str, secrets: impl Iterator<Item = &'a [u8]>) -> bool {
    let words = Words::new(words);
    secrets.flat_map(forms).all(|form| !words.have(&form))
}

/// The server's words in all their readings, and the parts of these, in order.
struct Words {
    plain: Vec<Text>,
    decoded: Vec<Text>,
    parts: Zeroizing<Vec<[u8; PART]>>,
}

impl Words {
    fn new(words: &str) -> Self {
        let forwards = Zeroizing::new(words.as_bytes().to_vec());
        let mut plain = vec![reversed(&forwards), forwards];
        // Some escape twice and thrice.
        for _ in 0..3 {
            let unescaped: Vec<Text> = plain.iter().map(|text| unescape(text)).collect();
            plain.extend(unescaped);
            sort(&mut plain);
        }
        let mut decoded: Vec<Text> = plain.iter().flat_map(|text| decode(text)).collect();
        sort(&mut decoded);
        let unescaped: Vec<Text> = decoded.iter().map(|text| unescape(text)).collect();
        decoded.extend(unescaped);
        sort(&mut decoded);
        let again: Vec<Text> = decoded.iter().flat_map(|text| decode_usual(text)).collect();
        decoded.extend(again);
        let decoded = decoded.iter().map(|text| squeeze(text));
        let plain = plain.iter().flat_map(|text| [squeeze(text), strip(text)]);
        let (mut plain, mut decoded): (Vec<Text>, Vec<Text>) = (plain.collect(), decoded.collect());
        sort(&mut plain);
        sort(&mut decoded);
        let texts = plain.iter().chain(&decoded);
        let parts = texts.flat_map(|text| text.windows(PART)).filter_map(|it| it.try_into().ok());
        let mut parts = Zeroizing::new(parts.collect::<Vec<[u8; PART]>>());
        parts.sort_unstable();
        parts.dedup();
        Self { plain, decoded, parts }
    }

    fn have(&self, form: &[u8]) -> bool {
        let is_there = |part: &[u8]| {
            let found = self.parts.binary_search_by(|it| it.as_slice().cmp(part));
            found.is_ok()
        };
        let whole = |text: &Text| text.windows(form.len()).any(|window| window == form);
        let most = |text: &Text| has_most(text, form);
        let most_of_it = match form.len() {
            0 => false,
            1..=3 => self.plain.iter().any(whole),
            // All but one of so few characters stand by chance in what was wrongly decoded.
            4..=5 => self.plain.iter().any(most) || self.decoded.iter().any(whole),
            6..=16 => self.plain.iter().chain(&self.decoded).any(most),
            // Without one of its characters, a longer one still has a part.
            _ => false,
        };
        most_of_it || form.windows(PART).any(is_there)
    }
}

/// The ways in which a secret may be written, each forwards and backwards.
fn forms(secret: &[u8]) -> Vec<Text> {
    let encoded = |space| {
        let mut form = Zeroizing::new(Vec::with_capacity(secret.len().saturating_mul(3)));
        encode_into(&mut form, secret, space);
        form
    };
    let written =
        [Zeroizing::new(secret.to_vec()), encoded(Space::Plus), encoded(Space::Percent20)];
    let mut forms = Vec::new();
    for text in &written {
        forms.extend([squeeze(text), strip(text)]);
        for (bits, alphabet) in [(4, HEX), (5, BASE32), (6, BASE64), (6, BASE64_URL)] {
            for offset in 0..bits {
                let form = in_digits(text, bits, offset, alphabet);
                // What is so short may stand anywhere by chance.
                if form.len() >= SHORTEST {
                    forms.extend([squeeze(&form), strip(&form)]);
                }
            }
        }
    }
    // Of a secret that has few letters and digits, these may stand anywhere by chance.
    let whole = squeeze(secret).len();
    forms.retain(|form| form.len() >= SHORTEST.min(whole));
    let backwards: Vec<Text> = forms.iter().map(|form| reversed(form)).collect();
    forms.extend(backwards);
    sort(&mut forms);
    forms
}

const HEX: &[u8] = b"0123456789abcdef";
const BASE32: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";
const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE64_URL: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Writes bytes in digits of so many bits each, from the bit at `offset` on: those digits that don't
/// depend on what stands before and after.
fn in_digits(bytes: &[u8], bits: usize, offset: usize, alphabet: &[u8]) -> Text {
    let all = bytes.len().saturating_mul(8);
    let bit = |at: usize| -> usize {
        let byte = bytes.get(at >> 3).copied().unwrap_or_default();
        usize::from(byte << (at & 7) >> 7)
    };
    let count = all.saturating_sub(offset).checked_div(bits).unwrap_or_default();
    let starts = (0..count).map(|digit| digit.saturating_mul(bits).saturating_add(offset));
    let digits = starts.filter_map(|start| {
        let value = (0..bits).fold(0, |value, n| value << 1 | bit(start.saturating_add(n)));
        alphabet.get(value).copied()
    });
    Zeroizing::new(digits.collect())
}

/// Reads a text as digits of so many bits each, whatever stands in between.
fn of_digits(text: &[u8], bits: u32, skip: usize, value: impl Fn(u8) -> Option<u32>) -> Text {
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

/// Returns what a text may be in hexadecimal, base64 and base32 at each alignment, and in the numbers
/// of its characters.
fn decode(text: &[u8]) -> Vec<Text> {
    let base32 = |byte: u8| match byte {
        b'2'..=b'7' => Some(u32::from(byte.saturating_sub(b'2')).saturating_add(26)),
        _ => char::from(byte).to_digit(36).and_then(|it| it.checked_sub(10)),
    };
    let mut decoded = decode_usual(text);
    decoded.extend((0..8).map(|skip| of_digits(text, 5, skip, base32)));
    decoded.extend([8, 10, 16].map(|radix| numbers(text, radix)));
    decoded
}

/// Returns what a text may be in hexadecimal and base64 at each alignment.
fn decode_usual(text: &[u8]) -> Vec<Text> {
    let hex = |byte| char::from(byte).to_digit(16);
    let base64 = |byte| match byte {
        b'-' => Some(62),
        b'_' => Some(63),
        _ => BASE64.iter().position(|it| *it == byte).and_then(|it| it.try_into().ok()),
    };
    let hex = (0..2).map(|skip| of_digits(text, 4, skip, hex));
    hex.chain((0..4).map(|skip| of_digits(text, 6, skip, base64))).collect()
}

/// Takes a text as a list of its characters' numbers, as in `63 61 6e`, `\\x63\\x61` or `99, 97`.
fn numbers(text: &[u8], radix: u32) -> Text {
    let words = text.split(|it| !it.is_ascii_alphanumeric() || b"uUxX".contains(it));
    let number =
        |word| u8::try_from(u32::from_str_radix(str::from_utf8(word).ok()?, radix).ok()?).ok();
    Zeroizing::new(words.filter_map(number).collect())
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
        (b'%' | b'\\', [b'u', b'{', digits @ ..]) => number(digits, 16, 8),
        (b'%' | b'\\', [b'u', digits @ ..]) => number(digits, 16, 4),
        (b'%' | b'=', digits) => number(digits, 16, 2),
        (b'\\', [b'U', digits @ ..]) => number(digits, 16, 8),
        (b'\\', [b'x', digits @ ..]) => number(digits, 16, 2),
        (b'\\', [b'0'..=b'7', ..]) => number(tail, 8, 3),
        (b'\\', [byte, after @ ..]) => Some((*byte, after)),
        (b'&', [b'#', b'x' | b'X', digits @ ..]) => number(digits, 16, 8),
        (b'&', [b'#', digits @ ..]) => number(digits, 10, 8),
        (b'&', _) => ENTITIES.iter().find_map(|(name, byte)| {
            let after = tail.strip_prefix(name.as_bytes())?;
            Some((*byte, after.strip_prefix(b";").unwrap_or(after)))
        }),
        _ => None,
    }
}

/// Reads up to so many digits, and what ends them.
fn number(text: &[u8], radix: u32, longest: usize) -> Option<(u8, &[u8])> {
    let digits =
        text.iter().take(longest).take_while(|it| char::from(**it).is_digit(radix)).count();
    let (digits, after) = text.split_at_checked(digits)?;
    let value = u32::from_str_radix(str::from_utf8(digits).ok()?, radix).ok()?;
    let after = after.strip_prefix(b";").or(after.strip_prefix(b"}")).unwrap_or(after);
    Some((u8::try_from(value).ok()?, after))
}

/// The names that HTML has for ASCII. One that begins another comes after it.
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

/// Makes texts comparable: printable ASCII in small letters, without spaces.
fn squeeze(text: &[u8]) -> Text {
    let kept = text.iter().filter(|byte| byte.is_ascii_graphic());
    Zeroizing::new(kept.map(u8::to_ascii_lowercase).collect())
}

/// Leaves nothing but letters and digits, in small letters.
fn strip(text: &[u8]) -> Text {
    let kept = text.iter().filter(|byte| byte.is_ascii_alphanumeric());
    Zeroizing::new(kept.map(u8::to_ascii_lowercase).collect())
}

/// Returns `true` if all of `form`, or all of it but one character, is in the text.
///
/// In place of that one character there may stand another: in a short form only one that masks it, since
/// `secret` isn't `s3cret`.
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

fn sort(texts: &mut Vec<Text>) {
    texts.sort_unstable_by(|a, b| a.as_slice().cmp(b));
    texts.dedup();
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
    const ENCODINGS: [Encoding; 24] = [
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
    ];

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
        ] {
            assert!(!is_shown(words, secret), "{words}");
        }
        assert!(!is_shown("it is s3cr8tXord", "s3cr8tword"));
        assert!(is_shown("it is another", "s3cr8t") && is_shown("it is wrong", ""));
        assert!(is_shown("client_secret=? is wrong", "s3cret"));
    }
}
