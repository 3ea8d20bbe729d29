"""Tests mirror the tree: every module has a test file of its name, or says where it is tested."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("pimc", "passes", "runtime")

#: Modules without a test file of their name, and the tests that reach them, or why there are none.
ELSEWHERE: dict[str, str] = {
    "passes/recover/bench.py": "tests/passes/recover/test_loop.py",
    "passes/recover/calibrate.py": "tests/passes/recover/test_loop.py",
    "passes/recover/calls.py": "tests/passes/test_repeated_layers.py",
    "passes/recover/clipping.py": "tests/passes/recover/test_identify.py",
    "passes/recover/features.py": "tests/passes/recover/test_distill.py",
    "passes/recover/from_outputs.py": "tests/passes/recover/test_coarse.py",
    "passes/recover/knowing.py": "tests/passes/recover/test_coarse.py",
    "passes/recover/layerwise.py": "tests/passes/recover/test_strategies.py",
    "passes/recover/levels.py": "tests/passes/recover/test_strategies.py",
    "passes/recover/noisy.py": "tests/passes/recover/test_harden.py",
    "passes/recover/objective.py": "tests/passes/recover/test_distill.py",
    "passes/recover/options.py": "tests/passes/recover/test_loop.py",
    "passes/recover/residual.py": "tests/passes/recover/test_strategies.py",
    "passes/recover/steps.py": "tests/passes/recover/test_strategies.py",
    "passes/recover/strategies/affine.py": "tests/passes/recover/test_strategies.py",
    "passes/recover/strategies/full_rewrite.py": "tests/passes/recover/test_strategies.py",
    "passes/recover/strategies/layerwise.py": "tests/passes/recover/test_strategies.py",
    "passes/recover/strategies/none.py": "tests/passes/recover/test_strategies.py",
    "passes/recover/strategies/residual.py": "tests/passes/recover/test_strategies.py",
    "passes/recover/strategies/selective.py": "tests/passes/recover/test_strategies.py",
    "passes/recover/strategies/vat.py": "tests/passes/recover/test_strategies.py",
    "passes/recover/sums.py": "tests/passes/recover/test_coarse.py",
    "passes/simplify/batch_axis.py": "rule by rule in tests/passes/simplify/test_free_batch.py",
    "pimc/chip/cell/programming_error.py": "tests/pimc/chip/cell/test_write_verify.py",
    "pimc/chip/cell/tables.py": "tests/pimc/chip/test_design.py",
    "pimc/chip/section.py": "tests/pimc/chip/test_design.py",
    "pimc/chip/sections.py": "tests/pimc/chip/test_design.py",
    "pimc/chip/write_cost.py": "tests/pimc/chip/cell/test_write_verify.py",
    "pimc/cli/arrays.py": "tests/pimc/cli/test_cells.py",
    "pimc/cli/capture.py": "tests/pimc/cli/test_recover.py",
    "pimc/cli/chip_options.py": "tests/pimc/cli/test_compile.py",
    "pimc/cli/chips.py": "tests/pimc/cli/test_main.py",
    "pimc/cli/common.py": "tests/pimc/cli/test_main.py",
    "pimc/cli/layouts.py": "tests/pimc/cli/test_compile.py",
    "pimc/cli/listing.py": "tests/pimc/cli/test_main.py",
    "pimc/cli/look.py": "tests/pimc/cli/test_compile.py",
    "pimc/cli/program.py": "tests/pimc/cli/test_run.py",
    "pimc/cli/recover_jobs.py": "tests/pimc/cli/test_recover.py",
    "pimc/cli/recovered.py": "tests/pimc/cli/test_recover.py",
    "pimc/cli/text.py": "tests/pimc/cli/test_main.py",
    "pimc/cli/verify.py": "tests/pimc/cli/test_run.py",
    "pimc/data/inputs.py": "tests/pimc/cli/test_run.py",
    "pimc/data/layout.py": "tests/pimc/data/test_dataset.py",
    "pimc/data/read.py": "tests/pimc/data/test_dataset.py",
    "pimc/errors.py": "declarations; what a user reads of them is in tests/test_bad_input.py",
    "pimc/files/fingerprint.py": "tests/passes/graph/test_frontend.py",
    "pimc/files/journal.py": "tests/runtime/door/test_program.py",
    "pimc/files/memory_map.py": "tests/pimc/files/test_weight.py",
    "pimc/files/strict.py": "tests/pimc/chip/test_design.py",
    "pimc/image/derivations.py": "tests/pimc/cli/test_compile.py",
    "pimc/image/estimate.py": "tests/pimc/image/test_cost.py",
    "pimc/image/golden.py": "tests/pimc/studies/test_verify.py",
    "pimc/image/layer.py": "tests/pimc/image/test_image.py",
    "pimc/image/summary.py": "tests/pimc/cli/test_compile.py",
    "pimc/pictures/canvas.py": "tests/pimc/cli/test_sweep.py",
    "pimc/pictures/plots.py": "tests/pimc/cli/test_sweep.py",
    "pimc/pictures/recovery.py": "tests/pimc/cli/test_compare.py",
    "pimc/progress.py": "tests/pimc/test_api.py",
    "pimc/studies/ablation_result.py": "tests/pimc/studies/test_ablation.py",
    "pimc/studies/compare.py": "tests/passes/recover/test_strategies.py",
    "pimc/studies/drawn.py": "tests/pimc/studies/test_ablation.py",
    "pimc/work/processes.py": "tests/pimc/work/test_pool.py",
    "runtime/die/bank.py": "tests/runtime/physics/test_ir_drop.py",
    "runtime/die/fixed.py": "tests/runtime/read/fused/test_layout.py",
    "runtime/die/region.py": "tests/runtime/door/test_sim.py",
    "runtime/die/site.py": "tests/runtime/physics/test_ir_drop.py",
    "runtime/door/device.py": "a protocol; tests/runtime/door/test_sim.py holds a device to it",
    "runtime/door/drivers.py": "tests/runtime/door/test_replay.py",
    "runtime/graph/fallback.py": "tests/runtime/graph/test_executor.py",
    "runtime/graph/functions.py": "tests/runtime/graph/test_executor.py",
    "runtime/graph/gradient.py": "tests/runtime/graph/test_executor.py",
    "runtime/graph/native.py": "tests/runtime/graph/test_executor.py",
    "runtime/graph/resolve.py": "tests/runtime/graph/test_executor.py",
    "runtime/graph/steps.py": "tests/runtime/graph/test_executor.py",
    "runtime/ops/control.py": "tests/runtime/graph/test_executor.py",
    "runtime/ops/layers/activation.py": "tests/runtime/ops/test_ops.py",
    "runtime/ops/layers/linear.py": "tests/runtime/ops/test_ops.py",
    "runtime/ops/layers/norm.py": "tests/runtime/ops/test_ops.py",
    "runtime/ops/layers/pooling.py": "tests/runtime/ops/test_ops.py",
    "runtime/ops/layers/quant.py": "tests/runtime/ops/test_ops.py",
    "runtime/ops/layers/recurrent.py": "tests/runtime/ops/test_ops.py",
    "runtime/ops/layers/resize.py": "tests/runtime/ops/test_ops.py",
    "runtime/ops/layers/signal.py": "tests/pimc/test_onnx_backend.py",
    "runtime/ops/tensors/cast.py": "tests/pimc/test_onnx_backend.py",
    "runtime/ops/tensors/elementwise.py": "tests/runtime/ops/test_ops.py",
    "runtime/ops/tensors/generate.py": "tests/runtime/ops/test_ops.py",
    "runtime/ops/tensors/index.py": "tests/runtime/ops/test_ops.py",
    "runtime/ops/tensors/reduce.py": "tests/runtime/ops/test_ops.py",
    "runtime/ops/tensors/shape.py": "tests/runtime/ops/test_ops.py",
    "runtime/ops/values.py": "tests/runtime/ops/test_registry.py",
    "runtime/physics/faults.py": "tests/runtime/die/test_die.py",
    "runtime/physics/streams.py": "tests/runtime/read/test_noise.py",
    "runtime/read/digital_side.py": "tests/runtime/test_crossbar.py",
    "runtime/read/fused/draws.py": "tests/runtime/read/fused/test_layer.py",
    "runtime/read/fused/jit.py": "tests/runtime/read/fused/test_layer.py",
    "runtime/read/fused/kernel.py": "tests/runtime/read/fused/test_layer.py",
    "runtime/read/fused/lanes.py": "tests/runtime/read/fused/test_layout.py",
    "runtime/read/fused/records.py": "tests/runtime/read/fused/test_layout.py",
    "runtime/read/threads.py": "tests/runtime/read/test_read_independence.py",
    "runtime/session.py": "tests/runtime/test_exact.py",
    "runtime/teacher.py": "tests/test_exports.py",
}


def modules() -> list[str]:
    """All modules but packages' own, as paths in the checkout."""
    found = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    return sorted(p.relative_to(ROOT).as_posix() for p in found if p.name != "__init__.py")


def own_tests(module: str) -> list[Path]:
    """Test files at the mirrored place: ``test_b.py`` and ``test_b_….py`` for ``b.py``."""
    path = ROOT / "tests" / module
    return [
        *path.parent.glob(f"test_{path.stem}.py"), *path.parent.glob(f"test_{path.stem}_*.py"),
    ]  # fmt: skip


@pytest.mark.parametrize("module", modules())
def test_a_module_has_tests_of_its_name_or_a_row(module: str) -> None:
    found, row = own_tests(module), ELSEWHERE.get(module)
    if found:
        assert row is None, f"{found[0].name} tests {module}: take it out of the table"
    else:
        assert row, f"neither tests of its name nor a row: {module}"


def test_rows_are_of_modules_that_there_are() -> None:
    assert sorted(set(ELSEWHERE) - set(modules())) == []


def test_rows_name_tests_that_there_are() -> None:
    named = {path for row in ELSEWHERE.values() for path in re.findall(r"tests/[\w/]+\.py", row)}
    assert sorted(path for path in named if not (ROOT / path).is_file()) == []
