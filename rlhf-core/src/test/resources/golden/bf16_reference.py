"""How far Hugging Face's own bf16 computation is from the fp32 truth of the golden files.

    python bf16_reference.py MODELS_FOLDER > bf16.json        (torch 2.7.1, transformers 5.23.0, CPU)

For every case the larger error of the eager and the sdpa attention path, each row alone and without
padding, as the truth was made: rms and largest absolute error of logits, hidden states of row 0,
log-probs and scores; error of the loss; rms and largest relative error of the parameters' gradient
norms; number of rows whose 16 greedy tokens are not those of fp32.
"""
import json, pathlib, sys
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

torch.set_num_threads(1)


def errors(found, truth):
    difference = (found.float() - truth).flatten()
    return {"rms": difference.square().mean().sqrt().item(), "max": difference.abs().max().item()}


def norms(model, facts):
    found, truth = [], []
    for name, parameter in model.named_parameters():
        if facts["grad_norms"][name] > 1e-6:
            found.append(parameter.grad.float().norm())
            truth.append(facts["grad_norms"][name])
    truth = torch.tensor(truth)
    return errors(torch.stack(found) / truth, torch.ones_like(truth))


def language_model(model, golden, facts):
    rows = [golden["input_ids"][b, :n] for b, n in enumerate(golden["lengths"].tolist())]
    logits, total, targets, log_probs, truth = [], 0, 0, [], []
    for b, row in enumerate(rows):
        out = model(row[None], output_hidden_states=(b == 0), use_cache=False)
        logits.append((out.logits[0], golden["logits"][b, : len(row)]))
        if b == 0:
            hidden = [errors(h[0], golden[f"hidden.{i}"]) for i, h in enumerate(out.hidden_states)]
        found = out.logits[0, :-1].float().log_softmax(-1).gather(1, row[1:, None])[:, 0]
        labels = golden["labels"][b, 1 : len(row)]
        total = total - found[labels != -100].sum()
        targets += (labels != -100).sum().item()
        log_probs.append(found)
        truth.append(golden["token_logprobs"][b, : len(row) - 1])
    loss = total / targets
    loss.backward()
    greedy = []
    for row in rows:
        ids = row.tolist()
        with torch.no_grad():
            for _ in range(16):
                ids.append(model(torch.tensor([ids]), use_cache=False).logits[0, -1].float().argmax().item())
        greedy.append(ids[len(row):])
    return {
        "logits": errors(torch.cat([l for l, _ in logits]), torch.cat([t for _, t in logits])),
        "hidden": hidden,
        "log_probs": errors(torch.cat(log_probs), torch.cat(truth)),
        "loss": abs(loss.item() - golden["loss"].item()),
        "grad_norms": norms(model, facts),
        "greedy_rows_that_differ": sum(a != b for a, b in zip(greedy, tokens(facts["generation"]["greedy_no_eos"]))),
    }


def tokens(stored):
    stored = stored if isinstance(stored, list) else stored["new_tokens"]
    return [row if isinstance(row, list) else row["new_tokens"] for row in stored]


def reward_model(model, golden, facts):
    def scores(ids, lengths):
        return torch.cat([model(ids[b : b + 1, :n], use_cache=False).logits[0] for b, n in enumerate(lengths.tolist())]).float()

    row = golden["input_ids"][:1, : golden["lengths"][0]]
    hidden = model.base_model(row, output_hidden_states=True, use_cache=False).hidden_states
    alone = scores(golden["input_ids"], golden["lengths"])
    chosen = scores(golden["chosen_ids"], golden["chosen_lengths"])
    rejected = scores(golden["rejected_ids"], golden["rejected_lengths"])
    loss = -torch.nn.functional.logsigmoid(chosen - rejected).mean()
    loss.backward()
    found = torch.cat([alone, chosen, rejected]).detach()
    truth = torch.cat([golden["scores"], golden["chosen_rewards"], golden["rejected_rewards"]])
    return {
        "hidden": [errors(h[0], golden[f"hidden.{i}"]) for i, h in enumerate(hidden)],
        "scores": errors(found, truth),
        "loss": abs(loss.item() - golden["loss"].item()),
        "grad_norms": norms(model, facts),
    }


def larger(one, other):
    if isinstance(one, dict):
        return {key: larger(one[key], other[key]) for key in one}
    if isinstance(one, list):
        return [larger(*pair) for pair in zip(one, other)]
    return float(f"{max(one, other):.4g}")


result = {}
for folder in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    if not (folder / "config.json").exists():
        continue
    golden = load_file(folder / "golden.safetensors")
    facts = json.loads((folder / "golden.json").read_text())
    scored = "scores" in golden
    loader = AutoModelForSequenceClassification if scored else AutoModelForCausalLM
    found = []
    for attention in ("eager", "sdpa"):
        try:
            model = loader.from_pretrained(folder, dtype=torch.bfloat16, attn_implementation=attention).eval()
        except ValueError:  # the family has no such path
            continue
        found.append((reward_model if scored else language_model)(model, golden, facts))
    result[folder.name] = larger(found[0], found[-1])
lines = [f"{json.dumps(name)}: {json.dumps(case)}" for name, case in result.items()]
print("{\n" + ",\n".join(lines) + "\n}")
