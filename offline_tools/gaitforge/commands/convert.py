"""gaitforge convert: an ONNX model becomes a .rknn model for the NPU."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gaitd.errors import InputError
from gaitforge.commands.options import add_conversion
from gaitforge.common import console
from gaitforge.common.manifest import load_manifest
from gaitforge.rknn.budget import budget_of
from gaitforge.rknn.convert import ALIASES, DTYPE, HYBRID_MEAN_ERROR, convert
from gaitforge.rknn.toolkit import BuildOptions, Quantization

if TYPE_CHECKING:
    from gaitforge.commands import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "convert",
        help="turn an ONNX model into a .rknn model",
        description="Convert with rknn-toolkit2, in float16 unless --do-quant asks for integers.",
    )
    parser.add_argument("model", type=Path, help="ONNX model")
    parser.add_argument("--dataset", type=Path, help="calibration observations, .npy or .npz")
    parser.add_argument("--do-quant", action="store_true", help="quantize")
    parser.add_argument("--quant-dtype", default=DTYPE, help="kind of integers (default: %(default)s)")
    add_conversion(parser)
    parser.add_argument("--samples", type=int, help="use only this many of the calibration observations")
    parser.add_argument(
        "--hybrid",
        action="store_true",
        help=f"keep layers in float16 until the mean action error is below {HYBRID_MEAN_ERROR:g}",
    )
    parser.add_argument("--fp16-layers", nargs="+", metavar="LAYER", help="keep these layers in float16")
    parser.add_argument("--opt-level", type=int, choices=range(4), default=3, help="default: %(default)s")
    parser.add_argument(
        "--output-optimize-level", type=int, choices=(0, 1), default=1, help="default: %(default)s"
    )
    parser.add_argument(
        "--replace-unsupported",
        nargs="*",
        metavar="OPERATOR",
        help="replace operators that the NPU does not compute, and the named ones, by equivalents",
    )
    parser.add_argument(
        "--manifest",
        type=Path,
        help="the policy's: a model beyond its npu_memory_kib is refused",
    )
    parser.add_argument("--output", type=Path, default=Path("policy.rknn"), help="default: %(default)s")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Convert."""
    convert(
        args.model,
        args.output,
        options=_options(args),
        dataset=args.dataset,
        samples=args.samples,
        hybrid=args.hybrid,
        replace_unsupported=args.replace_unsupported,
        npu_memory_kib=(
            None if args.manifest is None else budget_of(load_manifest(args.manifest), args.output)
        ),
    )


def _options(args: argparse.Namespace) -> BuildOptions:
    """Make the options, yet without calibration inputs. Raises InputError for what does not go together."""
    plain = BuildOptions(args.target, args.opt_level, bool(args.output_optimize_level))
    if not args.do_quant:
        if args.hybrid or args.fp16_layers:
            raise InputError("--hybrid and --fp16-layers choose layers of a quantized model: add --do-quant")
        if args.dataset is not None:
            console.note("without --do-quant the model is float16 and the dataset only measures it")
        return plain
    if args.dataset is None:
        raise InputError("--do-quant needs --dataset, as gaitforge calibrate collects it")
    dtype = ALIASES.get(args.quant_dtype, args.quant_dtype)
    if dtype != args.quant_dtype:
        console.note(f"{args.quant_dtype} is an older chip family's name; on the {args.target} it is {dtype}")
    return replace(plain, quantization=Quantization(dtype, args.algorithm, {}, args.fp16_layers))
