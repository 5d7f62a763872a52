//! What is public is a list, `tests/public_api.txt`, so that a change of it is seen in review.
//!
//! It is read from `src`: every public item under the one path that users write, with all features on,
//! and in brackets the features that it needs. Types are written as in the source.

mod expand;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path as FilePath;

use quote::ToTokens;
use syn::{Attribute, GenericParam, ImplItem, Item, ItemImpl, Signature, TraitItem, Type};

use crate::tree::{Path, Tree, attributes, below, features, is_hidden, is_on, is_public, name_of};

const LIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/public_api.txt");

#[test]
fn what_is_public_is_listed() {
    let lines = Api::read().lines();
    let now = lines.into_iter().map(|(_, line)| line + "\n").collect::<String>();
    if std::env::var("PUBLIC_API").is_ok_and(|it| it == "write") {
        fs::write(LIST, &now).unwrap();
        return;
    }
    let listed = fs::read_to_string(LIST).unwrap();
    let [old, new] = [&listed, &now].map(|text| text.lines().collect::<BTreeSet<_>>());
    let gone = old.difference(&new).map(|line| format!("- {line}\n"));
    let added = new.difference(&old).map(|line| format!("+ {line}\n"));
    assert!(
        listed == now,
        "what is public differs from tests/public_api.txt:\n\n{}\nIf that is meant, say it in \
         CHANGELOG.md and write the list anew:\n\n    PUBLIC_API=write cargo test --test public_api\n",
        gone.chain(added).collect::<String>()
    );
}

#[test]
fn each_public_name_has_one_path() {
    let api = Api::read();
    let several: Vec<_> = api.public.values().filter(|paths| paths.len() > 1).collect();
    assert!(several.is_empty(), "public by several paths; leave one: {several:#?}");
}

/// The crate, and what of it is public.
struct Api {
    tree: Tree,
    /// The public paths of each definition, with the features that they need.
    public: BTreeMap<Path, BTreeMap<String, Vec<String>>>,
}

impl Api {
    fn read() -> Self {
        let tree = Tree::read(FilePath::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")));
        let mut api = Self { tree, public: BTreeMap::new() };
        api.walk(&vec!["crate".into()], "tower_bearer", &[]);
        assert!(api.public.len() > 50, "found only {} items", api.public.len());
        api
    }

    /// Follows what a module makes public.
    fn walk(&mut self, module: &Path, public: &str, needed: &[String]) {
        let within = &self.tree.modules[module];
        let own = [needed, &within.features].concat();
        let mut found: Vec<(String, Path, Vec<String>)> = Vec::new();
        for item in within.items.iter().filter(|item| is_visible(item)) {
            let name = name_of(item).unwrap();
            found.push((name.clone(), below(module, &name), features(attributes(item))));
        }
        for used in within.uses.iter().filter(|used| used.is_public) {
            let target = self.tree.resolve(module, &used.target);
            let target =
                target.unwrap_or_else(|| panic!("{public}::{}: of another crate", used.name));
            found.push((used.name.clone(), target, used.features.clone()));
        }
        for (path, child) in &self.tree.modules {
            if child.is_public && path.len() == module.len() + 1 && path.starts_with(module) {
                found.push((path.last().unwrap().clone(), path.clone(), Vec::new()));
            }
        }
        for (name, target, needs) in found {
            let (path, needed) = (format!("{public}::{name}"), [own.as_slice(), &needs].concat());
            if self.tree.modules.contains_key(&target) {
                self.walk(&target, &path, &needed);
            } else {
                let module = &self.tree.modules[&target[..target.len() - 1]];
                let item = module.items.iter().find(|it| name_of(it).as_ref() == target.last());
                let own = features(attributes(item.unwrap()));
                let needed = [needed, module.features.clone(), own].concat();
                self.public.entry(target).or_default().insert(path, needed);
            }
        }
    }

    /// Returns what is public: by path, with the line that shows it.
    fn lines(&self) -> BTreeSet<(String, String)> {
        let mut lines = BTreeSet::new();
        for (definition, paths) in &self.public {
            let module = &self.tree.modules[&definition[..definition.len() - 1]];
            let items = module.items.iter().filter(|it| name_of(it).as_ref() == definition.last());
            for (item, (path, needed)) in
                items.flat_map(|it| paths.iter().map(move |path| (it, path)))
            {
                declaration(item, path, &mut |below, text| {
                    lines.insert((below, format!("{text}{}", brackets(needed))));
                });
            }
        }
        for (module, within) in &self.tree.modules {
            for block in &within.impls {
                let needed = [within.features.clone(), features(&block.attrs)].concat();
                match &block.trait_ {
                    Some(_) => self.implementation(module, block, &needed, &mut lines),
                    None => self.methods(module, block, &needed, &mut lines),
                }
            }
        }
        lines
    }

    fn implementation(
        &self,
        module: &Path,
        block: &ItemImpl,
        needed: &[String],
        lines: &mut BTreeSet<(String, String)>,
    ) {
        let of_trait = self.tree.resolve(module, &segments(&block.trait_.as_ref().unwrap().0));
        let of_type = self_type(block).and_then(|path| self.tree.resolve(module, &path));
        let known = |path: &Option<Path>| match path {
            Some(own) => self.public.get(own).map(|paths| paths.first_key_value().unwrap().0),
            None => None,
        };
        if self.names_hidden(module, header(block)) {
            return;
        }
        if let Some(path) = known(&of_type).or_else(|| known(&of_trait)) {
            let text = format!("{path}: {}{}", header(block), brackets(needed));
            lines.insert((format!("{path} impl"), text));
        }
    }

    /// Returns `true` if a name in the code stands for an item of the crate that isn't public.
    fn names_hidden(&self, module: &Path, code: String) -> bool {
        let names = code.split(|c: char| !c.is_alphanumeric() && c != '_');
        let mut own = names.filter_map(|name| self.tree.resolve(module, &[name.to_owned()]));
        own.any(|it| !self.tree.modules.contains_key(&it) && !self.public.contains_key(&it))
    }

    fn methods(
        &self,
        module: &Path,
        block: &ItemImpl,
        needed: &[String],
        lines: &mut BTreeSet<(String, String)>,
    ) {
        let own = self_type(block).and_then(|path| self.tree.resolve(module, &path));
        let Some(paths) = own.and_then(|own| self.public.get(&own)) else { return };
        let of = if is_plain(block) { String::new() } else { format!(" in {}", header(block)) };
        for item in self.impl_items(block) {
            let (attributes, visibility, name, text) = match &item {
                ImplItem::Fn(it) => (&it.attrs, &it.vis, &it.sig.ident, signature(&it.sig)),
                ImplItem::Const(it) => {
                    let text = format!("const {}: {}", it.ident, text(&it.ty));
                    (&it.attrs, &it.vis, &it.ident, text)
                }
                _ => continue,
            };
            if !is_public(visibility) || is_hidden(attributes) || !is_on(attributes) {
                continue;
            }
            for (path, more) in paths {
                let needed = [more, needed, &features(attributes)].concat();
                let text = text.replacen(&name.to_string(), &format!("{path}::{name}"), 1);
                lines.insert((
                    format!("{path}::{name}"),
                    format!("{text}{of}{}", brackets(&needed)),
                ));
            }
        }
    }

    /// Returns the items of a block, those that macros declare included.
    fn impl_items(&self, block: &ItemImpl) -> Vec<ImplItem> {
        let mut items = Vec::new();
        for item in &block.items {
            let ImplItem::Macro(it) = item else {
                items.push(item.clone());
                continue;
            };
            let name = it.mac.path.segments.last().unwrap().ident.to_string();
            let known = self.tree.macros.get(&name);
            let known = known.unwrap_or_else(|| panic!("{name}! declares what isn't known"));
            let tokens = known.expand(it.mac.tokens.clone());
            let expanded: ItemImpl = syn::parse2(quote::quote!(impl X { #tokens })).unwrap();
            items.extend(expanded.items);
        }
        items
    }
}

fn is_visible(item: &Item) -> bool {
    let visibility = match item {
        Item::Const(it) => &it.vis,
        Item::Enum(it) => &it.vis,
        Item::Fn(it) => &it.vis,
        Item::Static(it) => &it.vis,
        Item::Struct(it) => &it.vis,
        Item::Trait(it) => &it.vis,
        Item::Type(it) => &it.vis,
        _ => return false,
    };
    is_public(visibility) && !is_hidden(attributes(item))
}

/// Shows an item, its fields, variants, and methods of a trait.
fn declaration(item: &Item, path: &str, show: &mut dyn FnMut(String, String)) {
    let generics = |it: &syn::Generics| {
        let all = format!("{} {}", text(it), text(&it.where_clause));
        all.trim_end().to_owned()
    };
    match item {
        Item::Const(it) => show(path.into(), format!("const {path}: {}", text(&it.ty))),
        Item::Static(it) => show(path.into(), format!("static {path}: {}", text(&it.ty))),
        Item::Fn(it) => {
            let name = it.sig.ident.to_string();
            show(path.into(), signature(&it.sig).replacen(&name, path, 1));
        }
        Item::Type(it) => {
            show(path.into(), format!("type {path}{} = {}", generics(&it.generics), text(&it.ty)));
        }
        Item::Struct(it) => {
            let more =
                if it.fields.iter().all(|field| is_public(&field.vis)) { "" } else { " { .. }" };
            let head = format!("struct {path}{}{more}{}", generics(&it.generics), marks(&it.attrs));
            show(path.into(), head);
            for (n, field) in it.fields.iter().enumerate().filter(|(_, it)| is_public(&it.vis)) {
                let name = field.ident.as_ref().map_or_else(|| n.to_string(), ToString::to_string);
                show(format!("{path}.{name}"), format!("field {path}.{name}: {}", text(&field.ty)));
            }
        }
        Item::Enum(it) => {
            let head = format!("enum {path}{}{}", generics(&it.generics), marks(&it.attrs));
            show(path.into(), head);
            for variant in &it.variants {
                let name = &variant.ident;
                let mut fields = variant.fields.clone();
                fields.iter_mut().for_each(|field| field.attrs.clear());
                let fields = text(&fields).replacen('{', " {", 1);
                let shown = format!("variant {path}::{name}{fields}{}", marks(&variant.attrs));
                show(format!("{path}::{name}"), shown);
            }
        }
        Item::Trait(it) => {
            let bounds = text(&it.supertraits);
            let head = format!("trait {path}{}: {bounds}", generics(&it.generics));
            show(path.into(), head.trim_end_matches(": ").into());
            for item in it.items.iter() {
                let (attributes, name, shown) = match item {
                    TraitItem::Fn(it) => {
                        let provided = if it.default.is_some() { " { … }" } else { "" };
                        (&it.attrs, &it.sig.ident, signature(&it.sig) + provided)
                    }
                    TraitItem::Type(it) => (&it.attrs, &it.ident, text(it).replace(';', "")),
                    other => panic!("{} isn't understood", other.to_token_stream()),
                };
                if !is_hidden(attributes) {
                    let shown = shown.replacen(&name.to_string(), &format!("{path}::{name}"), 1);
                    show(format!("{path}::{name}"), shown);
                }
            }
        }
        other => panic!("{path} is public, and isn't understood: {}", other.to_token_stream()),
    }
}

/// Returns the attributes that users can tell.
fn marks(attributes: &[Attribute]) -> String {
    let told = ["deprecated", "derive", "non_exhaustive"];
    let those = attributes.iter().filter(|it| told.iter().any(|name| it.path().is_ident(name)));
    those.map(|it| format!(" {}", text(it))).collect()
}

fn brackets(features: &[String]) -> String {
    let distinct: BTreeSet<_> = features.iter().map(|it| it.replace('"', "")).collect();
    let listed = distinct.into_iter().collect::<Vec<_>>().join(", ");
    if listed.is_empty() { listed } else { format!("  [{listed}]") }
}

fn segments(path: &syn::Path) -> Path {
    path.segments.iter().map(|segment| segment.ident.to_string()).collect()
}

fn self_type(block: &ItemImpl) -> Option<Path> {
    match &*block.self_ty {
        Type::Path(it) => Some(segments(&it.path)),
        _ => None,
    }
}

/// Returns `true` if a block holds for every type of its name.
fn is_plain(block: &ItemImpl) -> bool {
    let bare = block.generics.params.iter().all(|parameter| match parameter {
        GenericParam::Type(it) => it.bounds.is_empty(),
        _ => true,
    });
    let names = block.generics.params.iter().filter_map(|parameter| match parameter {
        GenericParam::Type(it) => Some(it.ident.to_string()),
        GenericParam::Lifetime(it) => Some(it.lifetime.to_string()),
        GenericParam::Const(_) => None,
    });
    let names = names.collect::<Vec<_>>().join(", ");
    let whole = text(&block.self_ty);
    let arguments = whole.split_once('<').map_or("", |(_, rest)| rest.trim_end_matches('>'));
    bare && block.generics.where_clause.is_none() && arguments == names
}

fn header(block: &ItemImpl) -> String {
    let mut head = block.clone();
    head.attrs.clear();
    head.items.clear();
    text(&head).trim_end_matches([' ', '{', '}', ',']).to_owned()
}

fn signature(signature: &Signature) -> String {
    text(signature)
}

/// How tokens are spaced when they are printed, and how code usually is.
const SPACES: &[(&str, &str)] = &[
    ("\n", " "),
    (" :: ", "::"),
    (" <", "<"),
    ("< ", "<"),
    (" >", ">"),
    ("- >", "->"),
    (" ,", ","),
    (" :", ":"),
    ("& ", "&"),
    (" (", "("),
    ("( ", "("),
    (" )", ")"),
    ("->(", "-> ("),
    ("=(", "= ("),
    (",)", ")"),
    (",>", ">"),
    (", >", ">"),
    (", )", ")"),
    ("# [", "#["),
    ("[ ", "["),
    (" ]", "]"),
    (" ;", ";"),
    ("? ", "?"),
    ("(mut ", "("),
    (", mut ", ", "),
    (":::", ": ::"),
    (", }", " }"),
];

/// Returns code in one line, spaced as it is usually written.
fn text(tokens: &impl ToTokens) -> String {
    let mut text = format!(" {} ", tokens.to_token_stream());
    for (spaced, usual) in SPACES {
        text = text.replace(spaced, usual);
    }
    text.trim().trim_end_matches(',').to_owned()
}
