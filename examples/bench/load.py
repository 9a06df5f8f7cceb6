"""Loading: from_pretrained of a model folder, and every page of its weights touched. --write makes the folder: a random model."""
import common
from common import *

a = arguments(__doc__, model=dict(required=True, help="the folder"), write=dict(action="store_true"))
quiet()


def once():
    """Files of the type asked for stay mapped and are read when they are used; so they are used here."""
    m = AutoModelForCausalLM.from_pretrained(a.model, dtype={"fp32": torch.float32, "bf16": torch.bfloat16}[a.dtype])
    page = 4096 // next(m.parameters()).element_size()
    return sum(p.detach().view(-1)[::page].float().sum().item() for p in m.parameters())


if a.write:
    causal_model(a).save_pretrained(a.model)
else:
    import torch
    from transformers import AutoModelForCausalLM, LlamaForCausalLM   # the import of the second is not loading
    threads(a)
    seconds, first = [], None
    for i in range(a.warmup + a.steps):
        t = time.perf_counter()
        once()
        first = first or time.perf_counter()
        if i >= a.warmup:
            seconds.append(time.perf_counter() - t)
    report(a, "load-hf", "loads/s", 1, seconds, first)
