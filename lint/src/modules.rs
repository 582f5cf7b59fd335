//! A crate's modules as they are in its files, and what each of them imports from the others.
//! It reads source text only: it resolves paths by names, not types, and knows nothing of floors.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree};

/// A module's path below its crate's root, which has none.
type ModulePath = Vec<String>;

/// One file's use of another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Import {
    /// The file that imports.
    pub(crate) from: PathBuf,
    /// The file that it imports from.
    pub(crate) to: PathBuf,
    /// The first line that does.
    pub(crate) line: usize,
    /// What it imports there.
    pub(crate) name: String,
}

/// A module of one file; modules written within another's braces share its file.
#[derive(Debug, Default)]
struct Module {
    file: PathBuf,
    children: BTreeSet<String>,
    /// What is defined here.
    items: BTreeSet<String>,
    /// Names that a `use` brings in, and the paths that they stand for.
    aliases: BTreeMap<String, Vec<String>>,
    /// Paths whose names are all brought in.
    globs: Vec<Vec<String>>,
    /// Paths that a `use` names, with their lines.
    uses: Vec<(Vec<String>, usize)>,
    /// Paths that the code names, with their lines. The last word of one is no module.
    paths: Vec<(Vec<String>, usize)>,
}

/// A crate's modules.
#[derive(Debug)]
pub(crate) struct Modules {
    modules: BTreeMap<ModulePath, Module>,
}

impl Modules {
    /// Reads the crate whose root is the file `root`. Modules and items that exist in tests alone are left out.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or is not Rust.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut modules = Self {
            modules: BTreeMap::new(),
        };
        let directory = root.parent().unwrap_or(Path::new(""));
        modules.read_file(Vec::new(), root, directory)?;
        Ok(modules)
    }

    /// Reads `file` as the module `path`, whose child modules are in `directory`.
    fn read_file(&mut self, path: ModulePath, file: &Path, directory: &Path) -> Result<()> {
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let source = syn::parse_file(&text).with_context(|| format!("in {}", file.display()))?;
        self.read_items(path, file, directory, &source.items)
    }

    fn read_items(
        &mut self,
        path: ModulePath,
        file: &Path,
        directory: &Path,
        items: &[Item],
    ) -> Result<()> {
        let mut module = Module {
            file: file.to_owned(),
            ..Module::default()
        };
        let mut inner = Vec::new();
        for item in items.iter().filter(|item| !is_test(attributes(item))) {
            let Item::Mod(item) = item else {
                module.items.extend(name(item));
                if let Some(name) = exported_macro(item) {
                    let home = [&path[..], std::slice::from_ref(&name)].concat();
                    if let Some(crate_root) = self.modules.get_mut(&Vec::new()) {
                        crate_root.aliases.insert(name, home);
                    }
                }
                module.visit_item(item);
                continue;
            };
            let child = item.ident.to_string();
            module.children.insert(child.clone());
            inner.push((child, item));
        }
        self.modules.insert(path.clone(), module);
        for (child, item) in inner {
            let path = [&path[..], std::slice::from_ref(&child)].concat();
            let below = directory.join(&child);
            if let Some((_, items)) = &item.content {
                self.read_items(path, file, &below, items)?;
                continue;
            }
            let folder = below.join("mod.rs");
            let file = if folder.exists() {
                folder
            } else {
                below.with_extension("rs")
            };
            self.read_file(path, &file, &below)?;
        }
        Ok(())
    }

    /// What files import from each other, each pair once.
    pub(crate) fn imports(&self) -> Vec<Import> {
        let mut found: BTreeMap<(&Path, &Path), (usize, String)> = BTreeMap::new();
        for (at, module) in &self.modules {
            let uses = module
                .uses
                .iter()
                .map(|(path, line)| (path, line, path.len()));
            let others = module
                .paths
                .iter()
                .map(|(path, line)| (path, line, path.len() - 1));
            for (path, line, modules) in uses.chain(others) {
                let Some((target, name)) = self.resolve(at, path, modules, 0) else {
                    continue;
                };
                let Some(target) = self.modules.get(&target) else {
                    continue;
                };
                if target.file != module.file {
                    found
                        .entry((&module.file, &target.file))
                        .or_insert((*line, name));
                }
            }
        }
        let import = |((from, to), (line, name)): ((&Path, &Path), _)| Import {
            from: from.to_owned(),
            to: to.to_owned(),
            line,
            name,
        };
        found.into_iter().map(import).collect()
    }

    /// The module that defines what `path` means in the module `at`, and the name that it has there. `None` if that is
    /// outside the crate. At most so many of its first words are modules.
    fn resolve(
        &self,
        at: &[String],
        path: &[String],
        modules: usize,
        depth: usize,
    ) -> Option<(ModulePath, String)> {
        // Longer chains than this are two modules that bring in each other's names.
        if depth > 16 {
            return None;
        }
        let mut base = at.to_vec();
        let mut rest = path;
        let (first, behind) = path.split_first()?;
        match &**first {
            "crate" => (base, rest) = (Vec::new(), behind),
            "self" => rest = behind,
            "super" => {
                while let Some((word, behind)) = rest.split_first()
                    && word == "super"
                {
                    base.pop()?;
                    rest = behind;
                }
            }
            _ => {}
        }
        while let Some((word, behind)) = rest.split_first()
            && path.len() - rest.len() < modules
            && self.modules.get(&base)?.children.contains(word)
        {
            base.push(word.clone());
            rest = behind;
        }
        let Some((name, behind)) = rest.split_first() else {
            let name = base.last().cloned().unwrap_or_default();
            return Some((base, name));
        };
        let module = self.modules.get(&base)?;
        if module.items.contains(name) {
            return Some((base, name.clone()));
        }
        if let Some(alias) = module.aliases.get(name) {
            let path = [&alias[..], behind].concat();
            let modules = path.len();
            return (path != rest).then(|| self.resolve(&base, &path, modules, depth + 1))?;
        }
        let through = module.globs.iter().find_map(|glob| {
            let path = [&glob[..], rest].concat();
            self.resolve(&base, &path, path.len(), depth + 1)
        });
        through.or_else(|| (rest.len() < path.len()).then(|| (base, name.clone())))
    }
}

impl Module {
    /// Notes what a `use` names below `prefix`.
    fn add_use(&mut self, prefix: &[String], tree: &UseTree, is_reexport: bool) {
        let with = |ident: &syn::Ident| [prefix, &[ident.to_string()]].concat();
        let (path, alias, line) = match tree {
            UseTree::Path(path) => {
                return self.add_use(&with(&path.ident), &path.tree, is_reexport);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.add_use(prefix, tree, is_reexport);
                }
                return;
            }
            UseTree::Glob(_) => return self.globs.push(prefix.to_vec()),
            UseTree::Name(name) if name.ident == "self" => {
                let alias = prefix.last().cloned().unwrap_or_default();
                (prefix.to_vec(), alias, name.ident.span().start().line)
            }
            UseTree::Name(name) => {
                let line = name.ident.span().start().line;
                (with(&name.ident), name.ident.to_string(), line)
            }
            UseTree::Rename(rename) => {
                let line = rename.ident.span().start().line;
                (with(&rename.ident), rename.rename.to_string(), line)
            }
        };
        // What is only handed on is not used here.
        if !is_reexport {
            self.uses.push((path.clone(), line));
        }
        self.aliases.insert(alias, path);
    }

    /// Finds paths in a macro's tokens, which are not syntax yet.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut start = 0;
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.add_path(std::mem::take(&mut path), start);
                        start = ident.span().start().line;
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    let path = std::mem::take(&mut path);
                    if colons == 2 {
                        // What stands in front of `::{` is a module.
                        self.uses.push((path, start));
                    } else {
                        self.add_path(path, start);
                    }
                    colons = 0;
                    self.add_tokens(group.stream());
                }
                _ => {
                    self.add_path(std::mem::take(&mut path), start);
                    colons = 0;
                }
            }
        }
        self.add_path(path, start);
    }

    fn add_path(&mut self, path: Vec<String>, line: usize) {
        // A lone `crate` in a macro is that of `pub(crate)`, which imports nothing.
        if !path.is_empty() && path != ["crate"] {
            self.paths.push((path, line));
        }
    }
}

impl<'ast> Visit<'ast> for Module {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let is_reexport = !matches!(item.vis, syn::Visibility::Inherited);
        self.add_use(&[], &item.tree, is_reexport);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let words = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string());
        let line = path
            .segments
            .first()
            .map(|word| word.ident.span().start().line);
        self.add_path(words.collect(), line.unwrap_or_default());
        visit::visit_path(self, path);
    }

    /// `pub(super)` imports nothing.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.add_tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        let is_test = match item {
            syn::ImplItem::Fn(item) => is_test(&item.attrs),
            syn::ImplItem::Const(item) => is_test(&item.attrs),
            _ => false,
        };
        if !is_test {
            visit::visit_impl_item(self, item);
        }
    }
}

/// Whether `#[cfg(test)]`, or another condition that asks for tests alone, is among `attributes`.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else {
            return attribute.path().is_ident("test");
        };
        let first = list.tokens.clone().into_iter().next();
        list.path.is_ident("cfg") && first.is_some_and(|word| word.to_string() == "test")
    })
}

/// An item's attributes.
fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The name of a macro that stands in the crate's root wherever it is written.
fn exported_macro(item: &Item) -> Option<String> {
    let Item::Macro(rules) = item else {
        return None;
    };
    let is_exported = |attribute: &Attribute| attribute.path().is_ident("macro_export");
    rules.attrs.iter().any(is_exported).then(|| name(item))?
}

/// The name that an item defines.
fn name(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}
