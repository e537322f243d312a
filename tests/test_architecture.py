"""The folder is the sentence: who may import whom, and what importing costs.

Each check is a function of a tree of sources, and is shown once to fail on a small tree that has
what it guards against.
"""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import mmsa_suparc

NAME = "mmsa_suparc"
PACKAGE = Path(mmsa_suparc.__file__).parent
#: From the top of the sentence to its end: a part may import those after it, not before, nor
#: those beside it. Every folder and file of the package is named here.
ORDER = (
    ("__main__",),
    ("cli",),
    ("api",),
    ("analysis", "serving"),
    ("bench",),
    ("__init__",),
    ("plugin",),
    ("announced",),
    ("runs",),
    ("toolkit", "videos"),
    ("training",),
    ("data",),
    ("model",),
    ("losses",),
    ("metrics",),
    ("config",),
    ("extras", "plain_files"),
    ("errors", "names", "progress", "version"),
)
#: Parts that may import less than what comes after them.
ONLY = {"videos": {"data", "config", "errors", "names", "progress"}}
#: The only rooms in which the toolkit, or MMSA-FET, is imported.
MAY_IMPORT = {"toolkit": {"MMSA"}, "videos/fet_worker.py": {"MSA_FET"}}
#: What may be called with the toolkit's name outside its room: it is a distribution there.
NOT_AN_IMPORT = {"versions", "environment.versions", "metadata.version"}
MOST_LINES, MOST_OF_A_FUNCTION = 400, 80


def parsed(path: Path) -> ast.Module:
    """A file's tree without what is named for the type checker only."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    return tree


def imports_in(tree: ast.AST) -> set[str]:
    """Every name that is imported: modules, and modules with what is taken out of them."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


def source_files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*.py") if "plugin_configs" not in path.parts)


def part_of(path: Path, root: Path) -> str:
    return path.relative_to(root).parts[0].removesuffix(".py")


def file_of(name: str, root: Path) -> Path | None:
    """The file of the package that an imported name stands for, if it is one."""
    if name != NAME and not name.startswith(f"{NAME}."):
        return None
    place = root.joinpath(*name.split(".")[1:])
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.is_file():
            return path
    return None


def files_imported(path: Path, root: Path) -> set[Path]:
    """The files whose names a file takes; of a package only where something else than one of its
    modules is taken."""
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {file_of(alias.name, root) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            package = file_of(node.module, root)
            for alias in node.names:
                found.add(file_of(f"{node.module}.{alias.name}", root) or package)
    return {each for each in found if each is not None and each != path}


# --- The checks: each gives what is wrong with a tree --------------------------------------


def wrong_arrows(root: Path) -> Iterator[str]:
    rank = {part: number for number, parts in enumerate(ORDER) for part in parts}
    for path in source_files(root):
        part = part_of(path, root)
        if part not in rank:
            yield f"{path.relative_to(root)}: not in ORDER"
            continue
        for imported in files_imported(path, root):
            other = part_of(imported, root)
            allowed = rank.get(other, -1) > rank[part] or other in (part, *ORDER[-1])
            if part in ONLY and other != part:
                allowed = other in ONLY[part]
            if not allowed:
                yield f"{path.relative_to(root)} imports {imported.relative_to(root)}"


def circles(root: Path) -> Iterator[str]:
    """Files that reach themselves by imports. What ``__init__`` imports in a function does not
    count: that is how it stays light."""
    arrows = {path: files_imported(path, root) for path in source_files(root)}
    top = root / "__init__.py"
    if top in arrows:
        arrows[top] = {path for path in arrows[top] if part_of(path, root) != "plugin"}
    for start in arrows:
        reached, todo = set(), list(arrows[start])
        while todo:
            path = todo.pop()
            if path not in reached:
                reached.add(path)
                todo += arrows[path]
        if start in reached:
            yield str(start.relative_to(root))


def late_imports(root: Path) -> Iterator[str]:
    """Imports of our own inside a function, but in ``cli/`` and in ``__init__``."""
    for path in source_files(root):
        if part_of(path, root) in ("cli", "__init__"):
            continue
        for node in ast.walk(parsed(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                for name in sorted(imports_in(node)):
                    if file_of(name, root) is not None:
                        yield f"{path.relative_to(root)}: {node.name} imports {name}"


def touched_elsewhere(root: Path) -> Iterator[str]:
    """The toolkit, or what imports it by name, outside its room."""
    for path in source_files(root):
        where = str(path.relative_to(root))
        allowed = MAY_IMPORT.get(part_of(path, root)) or MAY_IMPORT.get(where) or set()
        tree = parsed(path)
        names = imports_in(tree)
        for name in sorted(names):
            if name.split(".")[0] in {"MMSA", "MSA_FET"} - allowed:
                yield f"{where} imports {name}"
        if "MMSA" in allowed:
            continue
        if any(name.startswith(f"{NAME}.toolkit.modules") for name in names):
            yield f"{where} uses toolkit.modules"
        as_distribution = {
            id(word)
            for node in ast.walk(tree)
            if (isinstance(node, ast.Call) and ast.unparse(node.func) in NOT_AN_IMPORT)
            or (isinstance(node, ast.For) and "metadata.version" in ast.unparse(node))
            for word in ast.walk(node)
        }
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and re.fullmatch(r"(MMSA|MSA_FET)(\.\w+)*", node.value)
                and id(node) not in as_distribution
            ):
                yield f"{where}, line {node.lineno}: {node.value!r}"


def impure(root: Path) -> Iterator[str]:
    """Losses and model are pure torch."""
    for path in source_files(root):
        if part_of(path, root) in ("losses", "model"):
            for name in sorted(imports_in(parsed(path))):
                library = name.split(".")[0]
                if library not in {*sys.stdlib_module_names, NAME, "torch"}:
                    yield f"{path.relative_to(root)} imports {library}"


def too_long(root: Path) -> Iterator[str]:
    for path in source_files(root):
        lines = len(path.read_text().splitlines())
        if lines > MOST_LINES:
            yield f"{path.relative_to(root)}: {lines} lines"
        for node in ast.walk(parsed(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MOST_OF_A_FUNCTION:
                    yield f"{path.relative_to(root)}: {node.name}: {lines} lines"


#: What can run code that a file holds, or a shell: allowed in one audited module only.
DANGEROUS_CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.load", "yaml.load",
    "yaml.unsafe_load", "pickle.load", "pickle.loads", "np.load", "numpy.load", "joblib.load",
}  # fmt: skip
DANGEROUS_IMPORTS = {"pickle", "cPickle", "dill", "marshal", "shelve", "joblib"}
AUDITED = Path("data/safe_pickle.py")
#: The one that mends a function of the installed toolkit out of that function's own source, which
#: Python would run anyway; nothing that is read from a file of data gets there.
RECOMPILES = {"toolkit/patches/trainers.py": {"compile", "exec"}}


def dangers_in(path: Path) -> set[str]:
    found = {name for name in imports_in(parsed(path)) if name.split(".")[0] in DANGEROUS_IMPORTS}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            keywords = {word.arg: ast.unparse(word.value) for word in node.keywords}
            plain_arrays = name in ("np.load", "numpy.load") and "allow_pickle" not in keywords
            if name in DANGEROUS_CALLS and not plain_arrays:
                found.add(name)
            if keywords.get("shell", "False") != "False":
                found.add("shell=True")
            if keywords.get("weights_only") == "False":
                found.add("weights_only=False")
    return found


def dangers(root: Path) -> Iterator[str]:
    for path in source_files(root):
        if path.relative_to(root) != AUDITED:
            allowed = RECOMPILES.get(path.relative_to(root).as_posix(), set())
            for name in sorted(dangers_in(path) - allowed):
                yield f"{path.relative_to(root)}: {name}"


CHECKS = (wrong_arrows, circles, late_imports, touched_elsewhere, impure, too_long, dangers)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_package_passes(check: Callable[[Path], Iterator[str]]) -> None:
    assert len(source_files(PACKAGE)) > 100
    assert list(check(PACKAGE)) == []


def test_the_audited_module_is_the_one_with_the_dangers() -> None:
    assert dangers_in(PACKAGE / AUDITED)


#: Small trees, and what the check says of each.
MADE_UP: dict[str, tuple[Callable[[Path], Iterator[str]], dict[str, str], list[str]]] = {
    "an arrow upwards": (
        wrong_arrows,
        {"losses/a.py": "from mmsa_suparc.training import loop", "training/loop.py": ""},
        ["losses/a.py imports training/loop.py"],
    ),
    "an arrow upwards in a function": (
        wrong_arrows,
        {"losses/a.py": "def f():\n    import mmsa_suparc.data.b", "data/b.py": ""},
        ["losses/a.py imports data/b.py"],
    ),
    "an arrow to the side": (
        wrong_arrows,
        {"serving/a.py": "from mmsa_suparc.analysis import b", "analysis/b.py": ""},
        ["serving/a.py imports analysis/b.py"],
    ),
    "videos on training": (
        wrong_arrows,
        {"videos/a.py": "from mmsa_suparc.training.loop import fit", "training/loop.py": ""},
        ["videos/a.py imports training/loop.py"],
    ),
    "an unknown room": (wrong_arrows, {"utils/a.py": ""}, ["utils/a.py: not in ORDER"]),
    "for the type checker only": (
        wrong_arrows,
        {"losses/a.py": "if TYPE_CHECKING:\n    import mmsa_suparc.data.b", "data/b.py": ""},
        [],
    ),
    "a circle of two inside a room": (
        circles,
        {"data/a.py": "from mmsa_suparc.data import b",
         "data/b.py": "def f():\n    from mmsa_suparc.data.a import x"},
        ["data/a.py", "data/b.py"],
    ),
    "a circle of three through a package": (
        circles,
        {"data/__init__.py": "from mmsa_suparc.data.a import x",
         "data/a.py": "from mmsa_suparc.data.b import y",
         "data/b.py": "from mmsa_suparc.data import x"},
        ["data/__init__.py", "data/a.py", "data/b.py"],
    ),
    "a line": (circles, {"data/a.py": "from mmsa_suparc.data import b", "data/b.py": ""}, []),
    "an import of our own in a function": (
        late_imports,
        {"runs/a.py": "def f():\n    from mmsa_suparc.data import b", "data/b.py": "",
         "cli/c.py": "def f():\n    from mmsa_suparc.data import b"},
        ["runs/a.py: f imports mmsa_suparc.data.b"],
    ),
    "the toolkit imported": (
        touched_elsewhere,
        {"runs/a.py": "def f():\n    import MMSA.run", "toolkit/b.py": "import MMSA"},
        ["runs/a.py imports MMSA.run"],
    ),
    "the toolkit imported by name": (
        touched_elsewhere,
        {"runs/a.py": "importlib.import_module('MMSA.run')", "toolkit/b.py": "f('MMSA')",
         "runs/c.py": "sys.modules['MMSA']", "runs/d.py": "versions(('MMSA', 'torch'))"},
        ["runs/a.py, line 1: 'MMSA.run'", "runs/c.py, line 1: 'MMSA'"],
    ),
    "the toolkit's modules used": (
        touched_elsewhere,
        {"runs/a.py": "from mmsa_suparc.toolkit import modules\nmodules.module('run')",
         "toolkit/modules.py": ""},
        ["runs/a.py uses toolkit.modules"],
    ),
    "MMSA-FET imported": (
        touched_elsewhere,
        {"videos/fet.py": "import MSA_FET", "videos/fet_worker.py": "import MSA_FET"},
        ["videos/fet.py imports MSA_FET"],
    ),
    "a library in a loss": (
        impure, {"losses/a.py": "import torch\nimport numpy"}, ["losses/a.py imports numpy"],
    ),
    "a long file": (too_long, {"data/a.py": "x = 1\n" * 401}, ["data/a.py: 401 lines"]),
    "a long function": (
        too_long, {"data/a.py": "def f():\n" + "    x = 1\n" * 80}, ["data/a.py: f: 81 lines"],
    ),
    "code in files": (
        dangers,
        {"data/a.py": "import pickle\ntorch.load(x, weights_only=False)",
         "data/safe_pickle.py": "eval(x)"},
        ["data/a.py: pickle", "data/a.py: torch.load", "data/a.py: weights_only=False"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE_UP)
def test_a_made_up_tree_is_judged(name: str, tmp_path: Path) -> None:
    check, tree, expected = MADE_UP[name]
    for file, content in tree.items():
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert sorted(check(tmp_path)) == expected
    assert check in CHECKS


def test_public_names_exist() -> None:
    for name in mmsa_suparc.__all__:
        assert getattr(mmsa_suparc, name) is not None
    assert set(mmsa_suparc.__all__) <= set(dir(mmsa_suparc))
    with pytest.raises(AttributeError, match="SuperArc"):
        _ = mmsa_suparc.SuperArc


def test_the_version_is_the_package_s() -> None:
    from importlib import metadata

    assert metadata.version("mmsa-suparc") == mmsa_suparc.__version__


def test_importing_and_help_load_no_heavy_library() -> None:
    program = (
        "import sys, mmsa_suparc\n"
        "from mmsa_suparc.cli import main\n"
        "for arguments in (['--help'], ['models', '--help'], ['--version']):\n"
        "    try: main(arguments)\n"
        "    except SystemExit as end: assert end.code in (0, None)\n"
        "assert 'SupArc' in dir(mmsa_suparc) and mmsa_suparc.errors.UserError.status == 2\n"
        "heavy = {'torch', 'MMSA', 'pandas', 'numpy', 'transformers', 'pydantic', 'matplotlib'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "HEAVY []" in done.stdout


def test_every_package_is_in_the_distribution() -> None:
    root = Path(__file__).parents[1]
    listed = configparser.ConfigParser()
    listed.read(root / "setup.cfg")
    made = (init.parent.relative_to(root) for init in (root / NAME).rglob("__init__.py"))
    names = {".".join(folder.parts) for folder in made}
    assert names | {f"{NAME}.plugin_configs"} == set(listed["options"]["packages"].split())
