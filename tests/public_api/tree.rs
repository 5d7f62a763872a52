//! The modules of `src` as they are with all features on, and what a name in one of them stands for.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path as FilePath, PathBuf};

use quote::ToTokens as _;
use syn::{Attribute, File, Item, ItemImpl, Meta, UseTree, Visibility};

use crate::expand::Macro;

/// A path from the crate's root.
pub(crate) type Path = Vec<String>;

#[derive(Default)]
pub(crate) struct Module {
    pub(crate) is_public: bool,
    pub(crate) features: Vec<String>,
    pub(crate) items: Vec<Item>,
    pub(crate) impls: Vec<ItemImpl>,
    pub(crate) uses: Vec<Use>,
}

/// What a `use` brings into its module.
pub(crate) struct Use {
    pub(crate) name: String,
    pub(crate) is_public: bool,
    pub(crate) features: Vec<String>,
    pub(crate) target: Path,
}

#[derive(Default)]
pub(crate) struct Tree {
    pub(crate) modules: BTreeMap<Path, Module>,
    pub(crate) macros: BTreeMap<String, Macro>,
}

impl Tree {
    pub(crate) fn read(src: &FilePath) -> Self {
        let mut tree = Self::default();
        let mut folders = vec![src.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.extension() {
                    _ if path.is_dir() => folders.push(path),
                    Some(rs) if rs == "rs" => tree.read_macros(&parse(&path).items),
                    _ => {}
                }
            }
        }
        let root = Module { is_public: true, ..Module::default() };
        let file = src.join("lib.rs");
        tree.read_module(&vec!["crate".into()], root, parse(&file).items, &file);
        tree
    }

    fn read_macros(&mut self, items: &[Item]) {
        for item in items.iter().filter(|item| is_on(attributes(item))) {
            match item {
                Item::Macro(it) if it.mac.path.is_ident("macro_rules") => {
                    let name = it.ident.as_ref().unwrap().to_string();
                    self.macros.insert(name, Macro::read(it.mac.tokens.clone()));
                }
                Item::Mod(it) => {
                    self.read_macros(it.content.as_ref().map_or(&[][..], |(_, items)| items));
                }
                _ => {}
            }
        }
    }

    fn read_module(&mut self, path: &Path, mut module: Module, items: Vec<Item>, file: &FilePath) {
        let mut items: Vec<Item> = items.into_iter().rev().collect();
        while let Some(item) = items.pop() {
            if !is_on(attributes(&item)) {
                continue;
            }
            match item {
                Item::Mod(it) => {
                    let name = it.ident.to_string();
                    let own = features(&it.attrs);
                    let child = Module {
                        is_public: is_public(&it.vis) && !is_hidden(&it.attrs),
                        features: [module.features.clone(), own].concat(),
                        ..Module::default()
                    };
                    let (items, file) = match it.content {
                        Some((_, items)) => (items, file.to_owned()),
                        None => {
                            let file = file_of(file, &name);
                            (parse(&file).items, file)
                        }
                    };
                    self.read_module(&below(path, &name), child, items, &file);
                }
                Item::Use(it) => {
                    let is_public = is_public(&it.vis) && !is_hidden(&it.attrs);
                    let mut found = Vec::new();
                    targets(&it.tree, &Path::new(), &mut found);
                    for (name, target) in found {
                        assert!(!is_public || name != "*", "a glob in {path:?}: name each item");
                        let features = features(&it.attrs);
                        module.uses.push(Use { name, is_public, features, target });
                    }
                }
                Item::Impl(it) => module.impls.push(it),
                Item::Macro(it) if it.ident.is_none() => {
                    let name = it.mac.path.segments.last().unwrap().ident.to_string();
                    let tokens = match (name.as_str(), self.macros.get(&name)) {
                        ("pin_project" | "thread_local", _) => it.mac.tokens,
                        (_, Some(known)) => known.expand(it.mac.tokens),
                        _ => panic!("{name}! declares what isn't known: teach it to this test"),
                    };
                    let expanded: File = syn::parse2(tokens).unwrap();
                    items.extend(expanded.items.into_iter().rev());
                }
                item => module.items.push(item),
            }
        }
        self.modules.insert(path.clone(), module);
    }

    /// Returns the path of the definition that a path in a module stands for, if it is the crate's own.
    pub(crate) fn resolve(&self, module: &Path, path: &[String]) -> Option<Path> {
        let (first, rest) = path.split_first()?;
        let mut found = match first.as_str() {
            "crate" => vec!["crate".into()],
            "self" => module.clone(),
            "super" => module[..module.len() - 1].to_vec(),
            name => self.find(module, name)?,
        };
        for name in rest {
            found = self.find(&found, name)?;
        }
        Some(found)
    }

    fn find(&self, module: &Path, name: &str) -> Option<Path> {
        let here = below(module, name);
        let within = self.modules.get(module)?;
        if self.modules.contains_key(&here) || within.items.iter().any(|it| is_named(it, name)) {
            return Some(here);
        }
        let used = within.uses.iter().find(|it| it.name == name)?;
        // `use axum::…` in a module that has a child of that name means the crate.
        if used.target.first().is_some_and(|first| first == name) {
            return None;
        }
        self.resolve(module, &used.target)
    }
}

pub(crate) fn below(path: &Path, name: &str) -> Path {
    path.iter().cloned().chain([name.to_owned()]).collect()
}

fn parse(file: &FilePath) -> File {
    let text = fs::read_to_string(file).unwrap();
    syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn file_of(parent: &FilePath, name: &str) -> PathBuf {
    let stem = parent.file_stem().unwrap().to_str().unwrap();
    let folder = match stem {
        "lib" | "mod" => parent.parent().unwrap().to_owned(),
        _ => parent.with_extension(""),
    };
    let file = folder.join(format!("{name}.rs"));
    if file.exists() { file } else { folder.join(name).join("mod.rs") }
}

fn targets(tree: &UseTree, before: &Path, found: &mut Vec<(String, Path)>) {
    match tree {
        UseTree::Path(it) => targets(&it.tree, &below(before, &it.ident.to_string()), found),
        UseTree::Group(it) => it.items.iter().for_each(|tree| targets(tree, before, found)),
        UseTree::Glob(_) => found.push(("*".into(), before.clone())),
        UseTree::Rename(it) => {
            found.push((it.rename.to_string(), below(before, &it.ident.to_string())));
        }
        UseTree::Name(it) if it.ident == "self" => {
            found.push((before.last().unwrap().clone(), before.clone()));
        }
        UseTree::Name(it) => {
            found.push((it.ident.to_string(), below(before, &it.ident.to_string())));
        }
    }
}

pub(crate) const fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

pub(crate) fn is_hidden(attributes: &[Attribute]) -> bool {
    let hidden = |it: &Attribute| it.to_token_stream().to_string().replace(' ', "");
    attributes.iter().any(|it| hidden(it) == "#[doc(hidden)]")
}

/// Returns `true` if what has these attributes is there with all features on.
pub(crate) fn is_on(attributes: &[Attribute]) -> bool {
    conditions(attributes).all(|condition| holds(&condition))
}

/// Returns the conditions that name features.
pub(crate) fn features(attributes: &[Attribute]) -> Vec<String> {
    let written = conditions(attributes).map(|it| it.to_token_stream().to_string());
    let named = written.filter(|it| it.contains("feature"));
    named.map(|it| it.replace("feature = ", "").replace(" (", "(").replace(" ,", ",")).collect()
}

fn conditions(attributes: &[Attribute]) -> impl Iterator<Item = Meta> {
    let those = attributes.iter().filter(|it| it.path().is_ident("cfg"));
    those.map(|it| it.parse_args().unwrap())
}

fn holds(condition: &Meta) -> bool {
    let all = |list: &syn::MetaList| {
        let parts = list
            .parse_args_with(syn::punctuated::Punctuated::<Meta, syn::Token![,]>::parse_terminated);
        parts.unwrap().iter().map(holds).collect::<Vec<_>>()
    };
    match condition {
        Meta::Path(it) => !(it.is_ident("test") || it.is_ident("doctest") || it.is_ident("docsrs")),
        Meta::NameValue(_) => true,
        Meta::List(it) if it.path.is_ident("not") => !all(it)[0],
        Meta::List(it) if it.path.is_ident("any") => all(it).contains(&true),
        Meta::List(it) => !all(it).contains(&false),
    }
}

fn is_named(item: &Item, name: &str) -> bool {
    name_of(item).is_some_and(|it| it == name)
}

pub(crate) fn name_of(item: &Item) -> Option<String> {
    Some(match item {
        Item::Const(it) => it.ident.to_string(),
        Item::Enum(it) => it.ident.to_string(),
        Item::Fn(it) => it.sig.ident.to_string(),
        Item::Macro(it) => it.ident.as_ref()?.to_string(),
        Item::Static(it) => it.ident.to_string(),
        Item::Struct(it) => it.ident.to_string(),
        Item::Trait(it) => it.ident.to_string(),
        Item::Type(it) => it.ident.to_string(),
        _ => return None,
    })
}

pub(crate) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(it) => &it.attrs,
        Item::Enum(it) => &it.attrs,
        Item::ExternCrate(it) => &it.attrs,
        Item::Fn(it) => &it.attrs,
        Item::Impl(it) => &it.attrs,
        Item::Macro(it) => &it.attrs,
        Item::Mod(it) => &it.attrs,
        Item::Static(it) => &it.attrs,
        Item::Struct(it) => &it.attrs,
        Item::Trait(it) => &it.attrs,
        Item::Type(it) => &it.attrs,
        Item::Use(it) => &it.attrs,
        other => panic!("{} isn't understood", other.to_token_stream()),
    }
}
