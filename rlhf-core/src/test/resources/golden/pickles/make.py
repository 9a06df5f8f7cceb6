"""Makes the files beside it: run with torch 2.7.1 and safetensors in this folder."""
import torch
from safetensors.torch import save_file

torch.manual_seed(1)
base = torch.arange(24, dtype=torch.float32).reshape(4, 6) / 8
content = {
    "f32": base,
    "f16": base.half(),
    "bf16": base.bfloat16(),
    "i64": torch.tensor([-(2**40), 7]),
    "u8": torch.tensor([200, 1], dtype=torch.uint8),
    "bool": torch.tensor([[True, False, True]]),
    "scalar": torch.tensor(-1e4),
    "empty": torch.zeros(3, 0),
    "transposed": base.t(),
    "slice": base[1:3],
    "columns": base[:, 1::2],
    "permuted": torch.randn(2, 3, 4).permute(2, 0, 1),
    "parameter": torch.nn.Parameter(torch.randn(5)),
    "tied": base,
}
torch.save(content, "dictionary.bin")
torch.save(content, "old.bin", _use_new_zipfile_serialization=False)
module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.LayerNorm(3)).half()
torch.save(module.state_dict(), "module.bin")
expected = {name: tensor.detach().contiguous().clone() for name, tensor in content.items()}
expected |= {name: tensor.clone() for name, tensor in module.state_dict().items()}
save_file(expected, "expected.safetensors")
