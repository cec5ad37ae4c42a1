#!/usr/bin/env python3
"""The work of bench_gpu in plain PyTorch on the same GPU: whole training steps of GPT-2's 124M in bf16 (autocast, weights in fp32, fused
AdamW, clipping, the loss downloaded each step), eager and by torch.compile, and attention alone by scaled_dot_product_attention.

Prints `metric value unit` lines, medians of wall times. Exit: 77 without PyTorch or a GPU.
"""
import statistics
import sys
import time

try:
    import torch
    import torch.nn.functional as F
    from torch import nn
except ImportError:
    print("skipped: python3 has no PyTorch to compare with")
    sys.exit(77)

LAYERS, HEADS, CHANNELS, CONTEXT, BATCH, VOCABULARY = 12, 12, 768, 1024, 16, 50304
REPETITIONS, WARM_UP = 9, 3


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.before, self.between = nn.LayerNorm(CHANNELS), nn.LayerNorm(CHANNELS)
        self.qkv, self.out = nn.Linear(CHANNELS, 3 * CHANNELS), nn.Linear(CHANNELS, CHANNELS)
        self.wide, self.narrow = nn.Linear(CHANNELS, 4 * CHANNELS), nn.Linear(4 * CHANNELS, CHANNELS)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (part.view(B, T, HEADS, C // HEADS).transpose(1, 2) for part in self.qkv(self.before(x)).split(C, dim=2))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(B, T, C))
        return x + self.narrow(F.gelu(self.wide(self.between(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(VOCABULARY, CHANNELS), nn.Parameter(0.02 * torch.randn(CONTEXT, CHANNELS))
        nn.init.normal_(self.wte.weight, std=0.02)
        self.blocks, self.last = nn.ModuleList(Block() for _ in range(LAYERS)), nn.LayerNorm(CHANNELS)

    def forward(self, tokens, targets):
        x = self.wte(tokens) + self.wpe
        for block in self.blocks:
            x = block(x)
        return F.cross_entropy(F.linear(self.last(x), self.wte.weight).flatten(0, 1), targets.flatten())


def seconds_of(run, times=1):
    took = []
    for _ in range(WARM_UP + REPETITIONS):
        torch.cuda.synchronize()
        begin = time.monotonic()
        for _ in range(times):
            run()
        torch.cuda.synchronize()
        took.append((time.monotonic() - begin) / times)
    return statistics.median(took[WARM_UP:])


def training(name, compiled):
    torch.manual_seed(1)
    model = GPT().cuda()
    forward = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.99), weight_decay=0.1, fused=True)
    text = torch.randint(VOCABULARY, (BATCH, CONTEXT + 1), device="cuda")
    tokens, targets = text[:, :-1].contiguous(), text[:, 1:].contiguous()

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = forward(tokens, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss.item()

    s = seconds_of(step)
    print(f"{name}_step_ms {1e3 * s:.2f} ms\n{name}_tok_s {BATCH * CONTEXT / s:.0f} tokens/s", flush=True)


def attention(name, B, T, C, H):
    qkv = torch.randn(B, T, 3, H, C // H, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    attend = lambda: F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in qkv.unbind(2)), is_causal=True)
    with torch.no_grad():
        forward = seconds_of(attend, 10)
    out = attend()
    dout = torch.randn_like(out)
    backward = seconds_of(lambda: torch.autograd.grad(out, qkv, dout, retain_graph=True), 10)
    print(f"{name}_forward_us {1e6 * forward:.0f} us\n{name}_backward_us {1e6 * backward:.0f} us", flush=True)


def main():
    if not torch.cuda.is_available():
        print("skipped: PyTorch finds no GPU")
        sys.exit(77)
    print(f"# {torch.cuda.get_device_name()}, PyTorch {torch.__version__}, bf16")
    torch.set_float32_matmul_precision("high")
    attention("pytorch_attention_d64_t1024", 16, 1024, 768, 12)
    attention("pytorch_attention_d64_t4096", 4, 4096, 768, 12)
    attention("pytorch_attention_d128_t4096", 4, 4096, 2048, 16)
    training("pytorch_gpt2_124m_eager", False)
    training("pytorch_gpt2_124m_compiled", True)


if __name__ == "__main__":
    main()
