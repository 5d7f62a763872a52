//! Expands the crate's own `macro_rules!` macros, as far as they declare items.

use std::collections::BTreeMap;

use proc_macro2::{Group, TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::discouraged::Speculative as _;
use syn::parse::{ParseStream, Parser as _};
use syn::{Error, Result};

/// The arms of a macro: what each takes and what it makes of that.
#[derive(Clone)]
pub(crate) struct Macro(Vec<(TokenStream, TokenStream)>);

/// What a variable of a macro stands for.
#[derive(Clone)]
enum Bound {
    One(TokenStream),
    Many(Vec<Self>),
}

type Bindings = BTreeMap<String, Bound>;

impl Macro {
    /// Reads the body of a `macro_rules!`: `(…) => {…}; …`.
    pub(crate) fn read(body: TokenStream) -> Self {
        let mut arms = Vec::new();
        let mut groups = body.into_iter().filter_map(|token| match token {
            TokenTree::Group(group) => Some(group.stream()),
            _ => None,
        });
        while let (Some(pattern), Some(body)) = (groups.next(), groups.next()) {
            arms.push((pattern, body));
        }
        Self(arms)
    }

    /// Expands one invocation.
    pub(crate) fn expand(&self, input: TokenStream) -> TokenStream {
        let expansion = self.0.iter().find_map(|(pattern, body)| {
            let bind = |input: ParseStream<'_>| bind(pattern.clone(), input);
            let bindings = bind.parse2(input.clone()).ok()?;
            Some(transcribe(body.clone(), &bindings))
        });
        expansion.unwrap_or_else(|| panic!("no arm of the macro takes {input}"))
    }
}

fn bind(pattern: TokenStream, input: ParseStream<'_>) -> Result<Bindings> {
    let mut bound = Bindings::new();
    let mut pattern = pattern.into_iter().peekable();
    while let Some(token) = pattern.next() {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '$' => match pattern.next().unwrap() {
                TokenTree::Group(repeated) => {
                    let separator = pattern.next_if(|token| !is_operator(token));
                    pattern.next();
                    for name in variables(repeated.stream()) {
                        bound.insert(name, Bound::Many(Vec::new()));
                    }
                    repeat(&repeated, separator.as_ref(), input, &mut bound)?;
                }
                name => {
                    pattern.next();
                    let kind = pattern.next().unwrap().to_string();
                    bound.insert(name.to_string(), Bound::One(fragment(&kind, input)?));
                }
            },
            TokenTree::Group(group) => {
                let TokenTree::Group(given) = input.parse()? else {
                    return Err(input.error("no group"));
                };
                let inner = |input: ParseStream<'_>| bind(group.stream(), input);
                bound.append(&mut inner.parse2(given.stream())?);
            }
            token => expect(&token, input)?,
        }
    }
    Ok(bound)
}

/// Takes what is repeated, as often as it is there.
fn repeat(
    repeated: &Group,
    separator: Option<&TokenTree>,
    input: ParseStream<'_>,
    bound: &mut Bindings,
) -> Result<()> {
    while !input.is_empty() {
        let ahead = input.fork();
        let Ok(once) = bind(repeated.stream(), &ahead) else { break };
        input.advance_to(&ahead);
        for (name, value) in once {
            let Some(Bound::Many(all)) = bound.get_mut(&name) else { unreachable!("{name}") };
            all.push(value);
        }
        match separator {
            Some(separator) if !input.is_empty() => expect(separator, input)?,
            _ => {}
        }
    }
    Ok(())
}

fn expect(token: &TokenTree, input: ParseStream<'_>) -> Result<()> {
    let given: TokenTree = input.parse()?;
    let same = given.to_string() == token.to_string();
    if same { Ok(()) } else { Err(Error::new_spanned(given, "another token")) }
}

fn fragment(kind: &str, input: ParseStream<'_>) -> Result<TokenStream> {
    Ok(match kind {
        "expr" => input.parse::<syn::Expr>()?.into_token_stream(),
        "ident" | "tt" => input.parse::<TokenTree>()?.into_token_stream(),
        "literal" => input.parse::<syn::Lit>()?.into_token_stream(),
        "meta" => input.parse::<syn::Meta>()?.into_token_stream(),
        "ty" => input.parse::<syn::Type>()?.into_token_stream(),
        "vis" => input.parse::<syn::Visibility>()?.into_token_stream(),
        other => panic!("macros with ${other} aren't understood: add it here"),
    })
}

fn is_operator(token: &TokenTree) -> bool {
    ["*", "+", "?"].contains(&token.to_string().as_str())
}

/// Returns the names that follow a `$`.
fn variables(tokens: TokenStream) -> Vec<String> {
    let mut found = Vec::new();
    let mut dollar = false;
    for token in tokens {
        match &token {
            TokenTree::Ident(name) if dollar => found.push(name.to_string()),
            TokenTree::Group(group) => found.extend(variables(group.stream())),
            _ => {}
        }
        dollar = token.to_string() == "$";
    }
    found
}

fn transcribe(body: TokenStream, bound: &Bindings) -> TokenStream {
    let mut out = TokenStream::new();
    let mut body = body.into_iter().peekable();
    while let Some(token) = body.next() {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '$' => match body.next().unwrap() {
                TokenTree::Group(repeated) => {
                    let separator = body.next_if(|token| !is_operator(token));
                    body.next();
                    for (n, round) in rounds(&repeated, bound).iter().enumerate() {
                        out.extend(separator.clone().filter(|_| n > 0));
                        out.extend(transcribe(repeated.stream(), round));
                    }
                }
                name => match bound.get(&name.to_string()) {
                    Some(Bound::One(tokens)) => out.extend(tokens.clone()),
                    // `$crate`
                    _ => out.extend([name]),
                },
            },
            TokenTree::Group(group) => {
                let inner = transcribe(group.stream(), bound);
                out.extend([TokenTree::Group(Group::new(group.delimiter(), inner))]);
            }
            token => out.extend([token]),
        }
    }
    out
}

/// Returns the bindings of each round of a repetition.
fn rounds(repeated: &Group, bound: &Bindings) -> Vec<Bindings> {
    let names = variables(repeated.stream());
    let repeating = names.iter().filter_map(|name| match bound.get(name) {
        Some(Bound::Many(all)) => Some((name, all)),
        _ => None,
    });
    let repeating: Vec<_> = repeating.collect();
    let most = repeating.iter().map(|(_, all)| all.len()).max().unwrap_or_default();
    let round = |n: usize| {
        let mut round = bound.clone();
        round.extend(repeating.iter().map(|(name, all)| ((*name).clone(), all[n].clone())));
        round
    };
    (0..most).map(round).collect()
}
