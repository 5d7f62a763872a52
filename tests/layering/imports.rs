//! What each file of `src` imports, read from its text.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

/// The files below `src` by their names, with their texts.
pub(crate) type Sources = BTreeMap<String, String>;

/// Files by name, each with the files that it imports.
pub(crate) type Imports = BTreeMap<String, BTreeSet<String>>;

/// Reads all files below `src`.
pub(crate) fn sources() -> Sources {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    let mut open = vec![root.clone()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
                files.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    assert!(files.len() > 30, "found only {} files", files.len());
    files
}

/// Returns a file's text before its unit tests.
pub(crate) fn before_tests(text: &str) -> &str {
    text.split("\nmod tests {").next().unwrap()
}

/// Returns the code: without unit tests, comments and docs.
pub(crate) fn code(text: &str) -> String {
    let lines = before_tests(text).lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.map(|line| line.split(" // ").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// A path in the code, and the name that it has there: its last part, unless `as` gives another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Named {
    path: Vec<String>,
    name: String,
}

/// Returns every path that begins with `prefix`, such as `crate::`, without it and with its braces
/// expanded.
pub(crate) fn paths(code: &str, prefix: &str) -> Vec<Named> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        // `$crate` in a macro is the path that its users see; `a::self_type::` is another's.
        let before = code[..at].chars().next_back();
        if !before.is_some_and(|c| c == '$' || c == ':' || is_part_of_a_name(c)) {
            tree(&code[at + prefix.len()..], &[], &mut found);
        }
    }
    found
}

const fn is_part_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn name(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c| !is_part_of_a_name(c)).unwrap_or(text.len()))
}

/// Reads one use tree (`a::{b, c::D as E}`) below `path` and returns the text behind it.
fn tree<'a>(text: &'a str, path: &[String], found: &mut Vec<Named>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start().trim_start_matches(',').trim_start();
            if rest.is_empty() {
                return rest;
            }
            if let Some(rest) = rest.strip_prefix('}') {
                return rest;
            }
            rest = tree(rest, path, found);
        }
    }
    let (first, rest) = name(text);
    let mut path = path.to_vec();
    if first.is_empty() {
        // A glob, or the end of a text that isn't Rust.
        found.push(Named { path, name: "*".into() });
        return text.get(1..).unwrap_or_default();
    }
    if first != "self" {
        path.push(first.into());
    }
    if let Some(rest) = rest.strip_prefix("::")
        && !rest.starts_with('<')
    {
        return tree(rest, &path, found);
    }
    let (alias, rest) = match rest.trim_start().strip_prefix("as ") {
        Some(alias) => name(alias.trim_start()),
        None => (path.last().map_or("", String::as_str), rest),
    };
    let name = alias.to_owned();
    found.push(Named { path, name });
    rest
}

/// Returns the names that a module hands on (`pub use …`), with the paths behind them from the root.
fn handed_on(sources: &Sources, file: &str) -> Vec<Named> {
    let code = code(&sources[file]);
    let own = module(file);
    let mut names = Vec::new();
    for statement in code.split(';') {
        let public = ["pub use ", "pub(crate) use "];
        let Some((_, used)) = public.iter().find_map(|it| statement.split_once(it)) else {
            continue;
        };
        names.extend(paths(used, "crate::"));
        for Named { path, name } in paths(used, "self::") {
            names.push(Named { path: [own.clone(), path].concat(), name });
        }
    }
    names
}

/// Returns the path of a file's module from the root.
fn module(file: &str) -> Vec<String> {
    let file = file.trim_end_matches(".rs").trim_end_matches("/mod");
    file.split('/').map(str::to_owned).collect()
}

/// Returns the files that a path from the root leads to, through the names that modules hand on;
/// none if it leads nowhere. There are several where each is for other features.
fn resolve(sources: &Sources, path: &[String]) -> BTreeSet<String> {
    let mut folder = String::new();
    let mut here = None;
    for (at, name) in path.iter().enumerate() {
        let inner = format!("{folder}{name}");
        let file = [format!("{inner}.rs"), format!("{inner}/mod.rs")];
        if let Some(file) = file.into_iter().find(|file| sources.contains_key(file)) {
            here = Some(file);
            folder = inner + "/";
            continue;
        }
        // An item: of this very file, or one that its module hands on.
        let Some(file) = here else { return BTreeSet::new() };
        let targets: Vec<_> = handed_on(sources, &file)
            .into_iter()
            .filter(|handed_on| handed_on.name == *name && handed_on.path != path[..=at])
            .collect();
        if targets.is_empty() {
            return BTreeSet::from([file]);
        }
        return targets.iter().flat_map(|target| resolve(sources, &target.path)).collect();
    }
    here.into_iter().collect()
}

/// Returns the paths from the root that a file names, each with the files that it leads to.
pub(crate) fn named(sources: &Sources, file: &str) -> Vec<(Vec<String>, BTreeSet<String>)> {
    let code = code(&sources[file]);
    let own = module(file);
    let mut all: Vec<_> = paths(&code, "crate::").into_iter().map(|it| it.path).collect();
    let mut below = |prefix: &str, child: &[String]| {
        let found = paths(&code, prefix);
        all.extend(found.into_iter().map(|it| [own.clone(), child.to_vec(), it.path].concat()));
    };
    below("self::", &[]);
    // Modules within a file's own are named without a prefix.
    for line in code.lines().filter_map(|line| line.trim().strip_suffix(';')) {
        if let Some((_, child)) = line.rsplit_once("mod ").filter(|(_, it)| name(it).1.is_empty()) {
            below(&format!("{child}::"), &[child.to_owned()]);
        }
    }
    let with_targets = all.into_iter().map(|path| (resolve(sources, &path), path));
    with_targets.map(|(targets, path)| (path, targets)).collect()
}

/// Returns which files each file imports, but for the crate's root, which hands on all of them.
pub(crate) fn imports(sources: &Sources) -> Imports {
    let files = sources.keys().filter(|file| *file != "lib.rs");
    let imports = files.map(|file| {
        let targets = named(sources, file).into_iter().flat_map(|(_, targets)| targets);
        (file.clone(), targets.filter(|target| target != file).collect())
    });
    imports.collect()
}

/// Returns the shortest circle of files that import each other, if there is one. Its first file
/// stands at its end as well.
pub(crate) fn circle(imports: &Imports) -> Option<Vec<String>> {
    imports.keys().filter_map(|start| way_back(imports, start)).min_by_key(Vec::len)
}

/// Returns the shortest way from a file through its imports back to it.
fn way_back(imports: &Imports, start: &str) -> Option<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut open = VecDeque::from([vec![start]]);
    while let Some(way) = open.pop_front() {
        for target in imports.get(*way.last()?).into_iter().flatten() {
            if target == start || seen.insert(target) {
                let longer = [way.as_slice(), &[target]].concat();
                if target == start {
                    return Some(longer.into_iter().map(str::to_owned).collect());
                }
                open.push_back(longer);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree_of(files: &[(&str, &str)]) -> Sources {
        files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect()
    }

    fn imported(files: &[(&str, &str)], file: &str) -> Vec<String> {
        imports(&tree_of(files))[file].iter().cloned().collect()
    }

    /// A room whose `mod.rs` hands names on, and a file with files of its own.
    const ROOM: [(&str, &str); 6] = [
        ("lib.rs", "mod floor;\nmod room;"),
        ("floor.rs", "pub struct Floor;"),
        (
            "room/mod.rs",
            "mod chair;\npub(crate) mod lamp;\nmod table;\npub use self::chair::{Chair, Seat as \
             Place};\n#[cfg(a)]\npub(crate) use self::table::*;\npub use crate::floor::Floor;",
        ),
        ("room/chair.rs", "pub struct Chair;\npub struct Seat;"),
        ("room/lamp.rs", "mod bulb;\nuse bulb::Bulb;\nfn on(_: self::bulb::Bulb) {}"),
        ("room/lamp/bulb.rs", "pub struct Bulb;"),
    ];

    fn imported_by(text: &str) -> Vec<String> {
        imported(&[&ROOM[..], &[("room/table.rs", text)]].concat(), "room/table.rs")
    }

    #[test]
    fn use_trees_are_read() {
        let read = |code| -> Vec<String> {
            paths(code, "crate::").iter().map(|it| it.path.join("::")).collect()
        };
        assert_eq!(
            read("use crate::a::{self, b::{C, D as E}, f::*};\nlet x = crate::g::h::<T>(1);"),
            ["a", "a::b::C", "a::b::D", "a::f", "g::h"]
        );
        assert_eq!(read("use crate::{a, b::C};"), ["a", "b::C"]);
        assert_eq!(read("$crate::a; other_crate::b; x::crate::c"), [""; 0]);
        let aliased = paths("use crate::a::B as C;", "crate::");
        assert_eq!(aliased[0].name, "C");
    }

    #[test]
    fn a_name_leads_to_the_file_that_holds_it() {
        for (text, expected) in [
            ("use crate::room::chair::Chair;", "room/chair.rs"),
            ("use crate::room::Chair;", "room/chair.rs"),
            ("fn f() { crate::room::Place::new() }", "room/chair.rs"),
            ("use crate::room::Floor;", "floor.rs"),
            ("use crate::floor;", "floor.rs"),
            ("use crate::room::lamp;", "room/lamp.rs"),
            ("use crate::room::lamp::bulb::Bulb;", "room/lamp/bulb.rs"),
            (
                "use crate::{\n    room::{\n        lamp::{bulb::Bulb},\n    },\n};",
                "room/lamp/bulb.rs",
            ),
        ] {
            assert_eq!(imported_by(text), [expected], "{text}");
        }
    }

    #[test]
    fn neither_comments_nor_tests_nor_the_file_itself_count() {
        let text = "/// [`x`](crate::floor)\n// crate::floor\nfn f() {} // crate::floor\nuse \
                    crate::room::table::f;\n#[cfg(test)]\nmod tests {\n    use crate::floor;\n}";
        assert_eq!(imported_by(text), [""; 0]);
    }

    #[test]
    fn modules_within_a_file_count() {
        assert_eq!(imported(&ROOM, "room/lamp.rs"), ["room/lamp/bulb.rs"]);
    }

    #[test]
    fn who_imports_a_whole_folder_imports_what_it_hands_on() {
        let text = "use crate::room;\nfn f(_: room::Chair) {}";
        let files = [&ROOM[..], &[("room/table.rs", text)]].concat();
        let way = circle(&imports(&tree_of(&files))).unwrap();
        assert_eq!(way, ["room/mod.rs", "room/table.rs", "room/mod.rs"]);
    }

    #[test]
    fn what_leads_nowhere_is_told() {
        let files = tree_of(&[("lib.rs", "mod a;"), ("a.rs", "use crate::b::C;")]);
        assert_eq!(named(&files, "a.rs"), [(vec!["b".into(), "C".into()], BTreeSet::new())]);
    }

    #[test]
    fn a_circle_is_found_with_its_path() {
        let files = [
            ("a.rs", "use crate::b::B;\nuse crate::e::E;"),
            ("b.rs", "use crate::c::C;"),
            ("c.rs", "use crate::d::D;"),
            ("d.rs", "use crate::b::B;\nuse crate::e::E;"),
            ("e.rs", "pub struct E;"),
        ];
        let way = circle(&imports(&tree_of(&files)));
        assert_eq!(way.unwrap(), ["b.rs", "c.rs", "d.rs", "b.rs"]);
        let straight: Vec<_> = files.into_iter().filter(|(file, _)| *file != "d.rs").collect();
        assert_eq!(circle(&imports(&tree_of(&straight))), None);
    }

    #[test]
    fn the_shortest_circle_is_told() {
        let files = [
            ("a.rs", "use crate::b;"),
            ("b.rs", "use crate::c;"),
            ("c.rs", "use crate::{a, d};"),
            ("d.rs", "use crate::c;"),
        ];
        let way = circle(&imports(&tree_of(&files)));
        assert_eq!(way.unwrap(), ["c.rs", "d.rs", "c.rs"]);
    }
}
