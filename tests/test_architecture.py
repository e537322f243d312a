"""The folder is the sentence: who may import whom, and what importing costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import mmsa_suparc

PACKAGE = Path(mmsa_suparc.__file__).parent
#: From the top of the sentence to its end: a part may import those after it, not before.
ORDER = (
    "cli",
    "serving",
    "analysis",
    "bench",
    "plugin",
    "runs",
    "videos",
    "training",
    "data",
    "model",
    "losses",
    "metrics",
    "config",
    "names",
)
#: Vocabulary that every part shares.
SHARED = {"errors", "names", "progress", "version", "__init__"}


def imports_of(path: Path) -> set[str]:
    """What a file imports when it runs; not what it names for the type checker only."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


def part_of(module: str) -> str:
    part = module.split(".")[1] if "." in module else "__init__"
    return "runs" if part == "toolkit" else part


def source_files() -> list[Path]:
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 25
    return files


def test_arrows_go_one_way() -> None:
    broken = []
    for path in source_files():
        part = part_of(f"mmsa_suparc.{path.relative_to(PACKAGE).parts[0].removesuffix('.py')}")
        if part not in ORDER:
            continue
        allowed = set(ORDER[ORDER.index(part) :]) | SHARED
        for name in imports_of(path):
            if name.startswith("mmsa_suparc.") and part_of(name) not in allowed:
                if part_of(name) not in ORDER and hasattr(mmsa_suparc, part_of(name)):
                    continue  # a name of the package itself
                broken.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert broken == []


def test_only_toolkit_imports_the_toolkit() -> None:
    touching = {
        path.relative_to(PACKAGE).parts[0]
        for path in source_files()
        for name in imports_of(path)
        if name.split(".")[0] in {"MMSA", "MSA_FET"}
    }
    assert touching <= {"toolkit", "videos"}


#: What can run code that a file holds, or a shell: allowed in one audited module only.
DANGEROUS_CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.load", "yaml.load",
    "yaml.unsafe_load", "pickle.load", "pickle.loads", "np.load", "numpy.load", "joblib.load",
}  # fmt: skip
DANGEROUS_IMPORTS = {"pickle", "cPickle", "dill", "marshal", "shelve", "joblib"}
AUDITED = "data/safe_pickle.py"


def dangers_in(path: Path) -> set[str]:
    found = {name for name in imports_of(path) if name.split(".")[0] in DANGEROUS_IMPORTS}
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


def test_code_in_files_can_only_be_met_in_the_audited_module() -> None:
    dangers = {str(path.relative_to(PACKAGE)): dangers_in(path) for path in source_files()}
    assert {path for path, found in dangers.items() if found} == {AUDITED}


def test_losses_and_model_are_pure_torch() -> None:
    for part in ("losses", "model"):
        for path in (PACKAGE / part).glob("*.py"):
            third_party = {
                name.split(".")[0]
                for name in imports_of(path)
                if name.split(".")[0] not in {*sys.stdlib_module_names, "mmsa_suparc"}
            }
            assert third_party <= {"torch"}, path


def test_public_names_exist() -> None:
    for name in mmsa_suparc.__all__:
        assert getattr(mmsa_suparc, name) is not None


def test_importing_and_help_load_no_heavy_library() -> None:
    program = (
        "import sys, mmsa_suparc\n"
        "from mmsa_suparc.cli import main\n"
        "for arguments in (['--help'], ['models', '--help'], ['--version']):\n"
        "    try: main(arguments)\n"
        "    except SystemExit as end: assert end.code in (0, None)\n"
        "heavy = {'torch', 'MMSA', 'pandas', 'numpy', 'transformers', 'pydantic', 'matplotlib'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert "HEAVY []" in done.stdout
