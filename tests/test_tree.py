"""Tests mirror the tree: every module has a test file of its name, or says where it is tested."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("pimc", "passes", "runtime")

#: Modules without a test file of their name, and the tests that reach them, or why there are none.
ELSEWHERE: dict[str, str] = {
    "passes/calibrate/types.py": "tests/passes/calibrate/test_operators.py",
    "passes/graph/external_data.py": "tests/passes/graph/test_frontend.py",
    "passes/quantize/learn.py": "tests/passes/recover/learn/test_learn.py",
    "passes/quantize/outputs.py": "tests/passes/quantize/test_quantize.py",
    "passes/rotate/carried.py": "tests/passes/rotate/test_streams.py",
    "passes/recover/bench/bench.py": "tests/passes/recover/test_loop.py",
    "passes/recover/know/clipping.py": "tests/passes/recover/know/test_codes.py",
    "passes/recover/know/outputs.py": "tests/passes/recover/test_coarse.py",
    "passes/recover/know/regression.py": "tests/passes/recover/know/test_codes.py",
    "passes/recover/learn/layer.py": "tests/passes/recover/learn/test_learn.py",
    "passes/recover/learn/network.py": "tests/passes/recover/learn/test_learn.py",
    "passes/recover/learn/rebuild.py": "tests/passes/recover/learn/test_learn.py",
    "passes/recover/options.py": "tests/passes/recover/test_loop.py",
    "passes/recover/recovery.py": "records; tests/passes/recover/test_loop.py",
    "passes/recover/samples.py": "tests/passes/recover/test_loop.py",
    "passes/recover/steps/learning.py": "tests/passes/recover/test_coarse.py",
    "passes/recover/steps/training.py": "tests/passes/recover/strategies/test_strategies.py",
    "passes/recover/steps/weighing.py": "tests/passes/recover/write/test_choose.py",
    "passes/recover/strategies/affine.py": "tests/passes/recover/strategies/test_strategies.py",
    "passes/recover/strategies/full_rewrite.py": "tests/passes/recover/strategies/test_strategies.py",
    "passes/recover/strategies/layerwise.py": "tests/passes/recover/strategies/test_strategies.py",
    "passes/recover/strategies/none.py": "tests/passes/recover/strategies/test_strategies.py",
    "passes/recover/strategies/residual.py": "tests/passes/recover/strategies/test_strategies.py",
    "passes/recover/strategies/selective.py": "tests/passes/recover/strategies/test_strategies.py",
    "passes/recover/strategies/vat.py": "tests/passes/recover/strategies/test_strategies.py",
    "passes/recover/train/layerwise.py": "tests/passes/recover/strategies/test_strategies.py",
    "passes/recover/train/levels.py": "tests/passes/recover/strategies/test_strategies.py",
    "passes/recover/twin/noisy.py": "tests/passes/recover/train/test_harden.py",
    "passes/recover/twin/specimen.py": "tests/passes/recover/test_module.py",
    "passes/recover/twin/student.py": "tests/passes/recover/train/test_distill.py",
    "passes/recover/watch/calls.py": "tests/passes/test_repeated_layers.py",
    "passes/recover/watch/network.py": "tests/passes/recover/bench/test_floor.py",
    "passes/recover/write/problem.py": "tests/passes/recover/write/test_choose.py",
    "passes/simplify/batch_axis.py": "rule by rule in tests/passes/simplify/test_free_batch.py",
    "pimc/chip/cell/programming_error.py": "tests/pimc/chip/cell/test_write_verify.py",
    "pimc/chip/cell/tables.py": "tests/pimc/chip/test_design.py",
    "pimc/chip/element.py": "tests/pimc/chip/test_elements.py",
    "pimc/chip/plugins/foreign.py": "tests/pimc/chip/cell/test_plugins.py",
    "pimc/chip/plugins/protocols.py": "protocols; tests/runtime/read/test_own.py holds terms to them",
    "pimc/chip/plugins/terms.py": "tests/pimc/chip/plugins/test_physics.py",
    "pimc/chip/reading.py": "tests/pimc/chip/test_design.py",
    "pimc/chip/section.py": "tests/pimc/chip/test_design.py",
    "pimc/chip/sections.py": "tests/pimc/chip/test_design.py",
    "pimc/chip/write_cost.py": "tests/pimc/chip/cell/test_write_verify.py",
    "pimc/cli/compiling/fronts.py": "tests/pimc/cli/compiling/test_layouts.py",
    "pimc/cli/compiling/spent.py": "tests/pimc/cli/compiling/test_within.py",
    "pimc/cli/compiling/weights.py": "tests/pimc/cli/compiling/test_compile.py",
    "pimc/cli/listing/zoo_get.py": "tests/pimc/cli/listing/test_zoo.py",
    "pimc/cli/listing/zoo_list.py": "tests/pimc/cli/listing/test_zoo.py",
    "pimc/cli/listing/zoo_run.py": "tests/pimc/cli/listing/test_zoo.py",
    "pimc/cli/options/chip.py": "tests/pimc/cli/compiling/test_compile.py",
    "pimc/cli/options/data.py": "tests/pimc/cli/running/test_eval.py",
    "pimc/cli/options/model.py": "tests/pimc/cli/compiling/test_check.py",
    "pimc/cli/options/partition.py": "tests/pimc/cli/compiling/test_check.py",
    "pimc/cli/options/samples.py": "tests/pimc/cli/running/test_eval.py",
    "pimc/cli/options/single.py": "tests/pimc/cli/test_commands_page.py",
    "pimc/cli/options/task.py": "tests/pimc/cli/running/test_eval_tasks.py",
    "pimc/cli/options/workers.py": "tests/pimc/cli/running/test_sweep.py",
    "pimc/cli/project/keys.py": "tests/pimc/cli/project/test_given.py",
    "pimc/cli/project/parsing.py": "tests/pimc/cli/project/test_given.py",
    "pimc/cli/recovering/arguments.py": "tests/pimc/cli/recovering/test_recover.py",
    "pimc/cli/recovering/dies.py": "tests/pimc/cli/recovering/test_capture.py",
    "pimc/cli/recovering/named.py": "tests/pimc/cli/recovering/test_together.py",
    "pimc/cli/recovering/together_text.py": "tests/pimc/cli/recovering/test_together.py",
    "pimc/cli/running/arrays.py": "tests/pimc/cli/running/test_run.py",
    "pimc/cli/running/limits.py": "tests/pimc/cli/running/test_eval_tasks.py",
    "pimc/cli/summary.py": "tests/pimc/cli/compiling/test_compile.py",
    "pimc/cli/telling.py": "tests/pimc/cli/test_log.py",
    "pimc/cli/text.py": "tests/pimc/cli/test_main.py",
    "pimc/data/arrays.py": "tests/pimc/data/test_dataset_errors.py",
    "pimc/data/checks.py": "tests/pimc/data/test_inputs.py",
    "pimc/data/column.py": "tests/pimc/data/test_dataset_errors.py",
    "pimc/data/kinds/folders.py": "tests/pimc/data/kinds/test_find.py",
    "pimc/data/kinds/lines.py": "tests/pimc/data/kinds/test_text.py",
    "pimc/data/kinds/stored.py": "a record; tests/pimc/data/test_dataset.py",
    "pimc/data/kinds/tokens.py": "tests/pimc/data/kinds/test_text.py",
    "pimc/data/layout.py": "tests/pimc/data/test_dataset.py",
    "pimc/data/read.py": "tests/pimc/data/test_dataset.py",
    "pimc/data/samples.py": "tests/pimc/data/test_dataset.py",
    "pimc/data/stateful/splits.py": "tests/pimc/data/test_dataset.py",
    "pimc/files/fingerprint.py": "tests/passes/graph/test_frontend.py",
    "pimc/files/key_table.py": "tests/pimc/chip/test_design.py",
    "pimc/files/kinds/marks.py": "tests/pimc/files/kinds/test_table.py",
    "pimc/files/limits.py": "tests/pimc/data/test_dataset_errors.py",
    "pimc/files/memory_map.py": "tests/pimc/files/weights/test_weight.py",
    "pimc/files/strict.py": "tests/pimc/chip/test_design.py",
    "pimc/files/tensor_file.py": "tests/pimc/files/test_container.py",
    "pimc/functions/capture.py": "tests/pimc/functions/test_functions.py",
    "pimc/functions/compensate.py": "tests/pimc/cli/recovering/test_compensate.py",
    "pimc/functions/evaluate.py": "tests/pimc/functions/test_functions.py",
    "pimc/functions/explore.py": "tests/pimc/functions/test_functions.py",
    "pimc/functions/given.py": "tests/pimc/functions/test_functions.py",
    "pimc/functions/program.py": "tests/pimc/functions/test_functions.py",
    "pimc/functions/recover_dies.py": "tests/pimc/functions/test_functions.py",
    "pimc/functions/report.py": "tests/pimc/reports/test_build.py",
    "pimc/functions/verify.py": "tests/pimc/functions/test_functions.py",
    "pimc/image/derivations.py": "tests/pimc/cli/running/test_element_costs.py",
    "pimc/image/estimate.py": "tests/pimc/image/test_cost.py",
    "pimc/image/format/notes.py": "tests/pimc/image/format/test_sections.py",
    "pimc/image/golden.py": "tests/pimc/studies/golden/test_verify.py",
    "pimc/image/layer.py": "tests/pimc/image/test_image.py",
    "pimc/image/rules/rule.py": "a type; tests/pimc/image/rules/test_sound.py asks all of them",
    "pimc/image/summary.py": "tests/pimc/cli/compiling/test_compile.py",
    "pimc/pictures/cells.py": "tests/pimc/pictures/test_canvas.py",
    "pimc/pictures/explain.py": "tests/pimc/cli/running/test_element_costs.py",
    "pimc/pictures/plots.py": "tests/pimc/cli/running/test_sweep.py",
    "pimc/pictures/recovery.py": "tests/pimc/cli/recovering/test_recover.py",
    "pimc/pictures/spending.py": "tests/pimc/cli/compiling/test_within.py",
    "pimc/pictures/tiles.py": "tests/pimc/pictures/test_canvas.py",
    "pimc/progress.py": "tests/pimc/test_api.py",
    "pimc/reports/blocks.py": "records; tests/pimc/reports/test_build.py",
    "pimc/reports/chapters/chip.py": "tests/pimc/reports/test_build.py",
    "pimc/reports/chapters/die.py": "tests/pimc/reports/test_build.py",
    "pimc/reports/chapters/evaluation.py": "tests/pimc/reports/chapters/test_tables.py",
    "pimc/reports/chapters/figures.py": "tests/pimc/reports/test_build.py",
    "pimc/reports/chapters/image.py": "tests/pimc/reports/test_build.py",
    "pimc/reports/chapters/recovery.py": "tests/pimc/reports/test_build.py",
    "pimc/reports/numbers.py": "tests/pimc/cli/test_main.py",
    "pimc/reports/sources.py": "tests/pimc/reports/test_build.py",
    "pimc/studies/ablation_result.py": "tests/pimc/studies/test_ablation.py",
    "pimc/studies/compare.py": "tests/passes/recover/strategies/test_strategies.py",
    "pimc/studies/drawn.py": "tests/pimc/studies/test_ablation.py",
    "pimc/studies/golden/golden_run.py": "tests/pimc/studies/golden/test_verify_networks.py",
    "pimc/studies/golden/verify_inputs.py": "tests/pimc/studies/golden/test_verify_networks.py",
    "pimc/studies/recoveries/begun.py": "tests/pimc/cli/recovering/test_resume.py",
    "pimc/studies/recoveries/columns.py": "tests/pimc/cli/recovering/test_together.py",
    "pimc/studies/recoveries/many.py": "tests/pimc/cli/recovering/test_together.py",
    "pimc/studies/recoveries/one_die.py": "tests/pimc/cli/recovering/test_together.py",
    "pimc/studies/recoveries/summary.py": "tests/pimc/cli/recovering/test_together.py",
    "pimc/studies/recoveries/wafer.py": "tests/pimc/cli/recovering/test_together.py",
    "pimc/studies/spending/sensitivity.py": "tests/pimc/studies/spending/test_prediction.py",
    "pimc/studies/spending/weigh.py": "tests/pimc/studies/spending/test_choice.py",
    "pimc/studies/sweep_columns.py": "tests/pimc/studies/test_sweep_table.py",
    "pimc/studies/tables/row_file.py": "tests/pimc/studies/test_sweep_table.py",
    "pimc/work/jit.py": "tests/runtime/read/fused/test_jit.py",
    "pimc/work/processes.py": "tests/pimc/work/test_pool.py",
    "pimc/zoo/makers/basic_pitch.py": "tests/pimc/zoo/makers/test_published.py",
    "pimc/zoo/makers/fashion.py": "tests/pimc/zoo/test_get.py",
    "pimc/zoo/makers/magika.py": "tests/pimc/zoo/makers/test_published.py",
    "pimc/zoo/makers/minilm.py": "tests/pimc/zoo/makers/test_published.py",
    "pimc/zoo/makers/ppocr.py": "tests/pimc/zoo/makers/test_published.py",
    "pimc/zoo/tasks.py": "tests/pimc/zoo/test_record.py",
    "runtime/die/region.py": "tests/runtime/door/test_sim.py",
    "runtime/die/site.py": "tests/runtime/physics/test_ir_drop.py",
    "runtime/digital.py": "tests/runtime/test_crossbar.py",
    "runtime/door/device.py": "a protocol; tests/runtime/door/test_sim.py holds a device to it",
    "runtime/door/sim_driver.py": "tests/runtime/door/test_drivers.py",
    "runtime/door/sim_reads.py": "tests/runtime/door/test_sim.py",
    "runtime/graph/fallback.py": "tests/runtime/graph/test_executor.py",
    "runtime/graph/functions.py": "tests/runtime/graph/test_executor.py",
    "runtime/graph/gradient.py": "tests/runtime/graph/test_executor.py",
    "runtime/graph/native.py": "tests/runtime/graph/test_executor.py",
    "runtime/graph/resolve.py": "tests/runtime/graph/test_executor.py",
    "runtime/graph/steps.py": "tests/runtime/graph/test_executor.py",
    "runtime/network.py": "tests/runtime/test_sequences.py",
    "runtime/ops/control.py": "tests/runtime/graph/test_executor_contract.py",
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
    "runtime/ort/arguments.py": "tests/runtime/test_session_shape.py",
    "runtime/ort/binding.py": "tests/runtime/test_session_shape.py",
    "runtime/ort/methods.py": "tests/runtime/test_session_shape.py",
    "runtime/ort/options.py": "tests/runtime/test_session_shape.py",
    "runtime/physics/faults.py": "tests/runtime/die/test_die.py",
    "runtime/physics/wires/block.py": "tests/runtime/physics/wires/test_grid.py",
    "runtime/physics/wires/compiled.py": "tests/runtime/physics/wires/test_tiles.py",
    "runtime/read/digital_side.py": "tests/runtime/test_crossbar.py",
    "runtime/read/fused/draws.py": "tests/runtime/read/fused/test_layer.py",
    "runtime/read/fused/inputs.py": "tests/runtime/read/fused/test_layout.py",
    "runtime/read/fused/kernel.py": "tests/runtime/read/fused/test_layer.py",
    "runtime/read/fused/lanes.py": "tests/runtime/read/fused/test_layout.py",
    "runtime/read/fused/outputs.py": "tests/runtime/read/fused/test_layer.py",
    "runtime/read/fused/records.py": "tests/runtime/read/fused/test_layout.py",
    "runtime/read/loaded.py": "tests/runtime/read/test_oracle.py",
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


#: Modules side by side that a reader still takes in at a glance.
MOST = 13


def test_no_package_is_a_drawer() -> None:
    counts = Counter(str(Path(module).parent) for module in modules())
    assert {package: count for package, count in counts.items() if count > MOST} == {}
