package org.rlhf4j.core.generate;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.IntConsumer;
import org.rlhf4j.core.CounterRandom;
import org.rlhf4j.core.RandomStream;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.model.CausalLm;
import org.rlhf4j.core.model.Decoder;
import org.rlhf4j.core.model.DecodingCache;
import org.rlhf4j.core.model.TokenBatch;
import org.rlhf4j.core.text.TokenStream;
import org.rlhf4j.core.text.Tokenizer;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.train.RunCheck;

/**
 * Samples responses. A prompt is read once for all its samples, prompts of similar length are
 * decoded together, and finished samples leave the batch.
 *
 * <p>A sample is a function of the seed, the round, the prompt's index and the sample's number: its
 * uniforms come from {@link CounterRandom} and not from a state, so neither the batch size nor the
 * number of samples changes it.
 */
public final class Generator implements AutoCloseable {
  /** Leaving the batch means copying the caches of those that stay; this much must be saved. */
  private static final double SMALLER_ENOUGH = 0.8;

  private static final long SAMPLES_PER_PROMPT = 1L << 20;

  private final CausalLm model;
  private final Tokenizer tokenizer;
  private final SamplingConfig config;
  private final int[] eosIds;
  private final Sampler sampler;

  /**
   * A generator on a model and a tokenizer, both the caller's.
   *
   * @param tokenizer null where there is none; then texts are empty and stop strings impossible
   * @param eosIds the ids that end a response
   */
  public Generator(CausalLm model, Tokenizer tokenizer, SamplingConfig config, int[] eosIds) {
    requireStops(tokenizer, config);
    this.model = model;
    this.tokenizer = tokenizer;
    this.config = config;
    this.eosIds = eosIds.clone();
    this.sampler = new Sampler(model.torch(), config);
  }

  private static void requireStops(Tokenizer tokenizer, SamplingConfig config) {
    if (tokenizer == null && !config.stop().isEmpty()) {
      throw RlhfException.config(
          "stop: stop strings need a tokenizer, and the model folder has none");
    }
  }

  /**
   * Looks at what {@link #of} reads of a folder.
   *
   * @param vocabulary the model's
   * @throws RlhfException as there
   */
  public static void check(
      ModelFolder folder, int vocabulary, Tokenizer tokenizer, SamplingConfig config) {
    ModelGenerationConfig.of(folder, vocabulary);
    requireStops(tokenizer, config);
  }

  /** As {@link #check(ModelFolder, int, Tokenizer, SamplingConfig)}, for a run that samples. */
  public static void check(RunCheck run, SamplingConfig config) {
    if (run.readsRows()) {
      int vocabulary = run.spec().vocabularySize();
      run.checks().require(() -> check(run.start(), vocabulary, run.tokenizer(), config));
    }
  }

  /**
   * A generator on a model, whose responses end where its folder says.
   *
   * @param folder that the model was loaded from
   * @param tokenizer null where there is none; then texts are empty and stop strings impossible
   */
  public static Generator of(
      CausalLm model, ModelFolder folder, Tokenizer tokenizer, SamplingConfig config) {
    int vocabulary = model.decoder().spec().vocabularySize();
    return new Generator(
        model, tokenizer, config, ModelGenerationConfig.of(folder, vocabulary).eosIds());
  }

  /**
   * How much is done at once, and which randomness is used.
   *
   * @param samples responses to each prompt
   * @param batchSize responses that are decoded side by side, at least one prompt's
   * @param seed of all draws
   * @param round another round gives other samples of the same prompts
   */
  public record Plan(int samples, int batchSize, long seed, long round) {}

  /**
   * Responses to prompts.
   *
   * @param finished told after each batch how many prompts it had
   * @return for each prompt, in the order given, its responses
   * @throws org.rlhf4j.core.RlhfException if a prompt leaves no room in the model's context
   */
  public List<List<Response>> generate(List<PromptRow> prompts, Plan plan, IntConsumer finished) {
    List<List<Response>> responses = new ArrayList<>(prompts.size());
    for (PromptRow prompt : prompts) {
      requireRoom(prompt);
      responses.add(null);
    }
    Integer[] byLength = new Integer[prompts.size()];
    Arrays.setAll(byLength, i -> i);
    Arrays.sort(byLength, Comparator.comparingInt(i -> prompts.get(i).ids().length));
    int promptsPerBatch = Math.max(1, plan.batchSize() / plan.samples());
    try (TensorScope scope = model.torch().scope()) {
      CausalLm.DecodingWeights weights = model.forDecoding(scope);
      for (int from = 0; from < byLength.length; from += promptsPerBatch) {
        int to = Math.min(byLength.length, from + promptsPerBatch);
        List<PromptRow> batch = new ArrayList<>();
        for (int i = from; i < to; i++) {
          batch.add(prompts.get(byLength[i]));
        }
        List<List<Response>> found =
            model
                .torch()
                .sideBySide(
                    batch,
                    (long) batch.size() * plan.samples(),
                    some -> new Batch(some, plan, weights).run());
        for (int i = from; i < to; i++) {
          responses.set(byLength[i], found.get(i - from));
        }
        finished.accept(to - from);
      }
    }
    return responses;
  }

  private void requireRoom(PromptRow prompt) {
    int context = model.decoder().spec().maxPositions();
    if (prompt.ids().length >= context) {
      throw RlhfException.input(
          "prompt "
              + prompt.index()
              + " has "
              + prompt.ids().length
              + " tokens, which leaves no room for a response: the model's context"
              + " (max_position_embeddings) is "
              + context);
    }
  }

  /** One sample while it grows. */
  private final class Sample {
    private final PromptRow prompt;
    private final int number;
    private final List<Integer> ids = new ArrayList<>();
    private final List<Float> logProbs = new ArrayList<>();
    private final StringBuilder text = new StringBuilder();
    private final TokenStream stream;
    private final Map<List<Integer>, Set<Integer>> followers = new HashMap<>();
    private FinishReason finishReason;

    private Sample(PromptRow prompt, int number) {
      this.prompt = prompt;
      this.number = number;
      this.stream = tokenizer == null ? null : tokenizer.stream();
      if (config.noRepeatNgramSize() > 0) {
        for (int end = 1; end <= prompt.ids().length; end++) {
          rememberGram(end);
        }
      }
    }

    private int at(int index) {
      int[] before = prompt.ids();
      return index < before.length ? before[index] : ids.get(index - before.length);
    }

    private int length() {
      return prompt.ids().length + ids.size();
    }

    private void rememberGram(int end) {
      int start = end - config.noRepeatNgramSize();
      if (start >= 0) {
        followers.computeIfAbsent(gram(start, end - 1), key -> new HashSet<>()).add(at(end - 1));
      }
    }

    private List<Integer> gram(int start, int end) {
      List<Integer> gram = new ArrayList<>();
      for (int i = start; i < end; i++) {
        gram.add(at(i));
      }
      return gram;
    }

    /** Tokens that would complete a run of tokens that occurred before. */
    private Set<Integer> repeating() {
      int start = length() - config.noRepeatNgramSize() + 1;
      return start < 0 ? Set.of() : followers.getOrDefault(gram(start, length()), Set.of());
    }

    private void append(int id, float logProb) {
      ids.add(id);
      logProbs.add(logProb);
      if (config.noRepeatNgramSize() > 0) {
        rememberGram(length());
      }
      boolean ends = !config.ignoreEos() && Arrays.stream(eosIds).anyMatch(eos -> eos == id);
      int cut = -1;
      if (stream != null && !ends) {
        text.append(stream.push(id));
        cut = firstStop();
      }
      if (ends) {
        finishReason = FinishReason.EOS;
      } else if (cut >= 0) {
        finishReason = FinishReason.STOP;
        text.setLength(cut);
      } else if (ids.size() == config.maxNewTokens()
          || length() == model.decoder().spec().maxPositions()) {
        finishReason = FinishReason.LENGTH;
      }
      if (stream != null && finishReason != null && finishReason != FinishReason.STOP) {
        text.append(stream.finish());
      }
    }

    private int firstStop() {
      return config.stop().stream()
          .mapToInt(text::indexOf)
          .filter(place -> place >= 0)
          .min()
          .orElse(-1);
    }

    private double uniform(Plan plan) {
      long sample = prompt.index() * SAMPLES_PER_PROMPT + number;
      return CounterRandom.uniform(
          plan.seed(), RandomStream.SAMPLING, plan.round(), sample, ids.size());
    }

    private Response response() {
      float[] found = new float[logProbs.size()];
      for (int i = 0; i < found.length; i++) {
        found[i] = logProbs.get(i);
      }
      int[] tokens = ids.stream().mapToInt(Integer::intValue).toArray();
      return new Response(text.toString(), tokens, found, finishReason);
    }
  }

  /** Prompts that are decoded together. */
  private final class Batch {
    private final List<PromptRow> prompts;
    private final Plan plan;
    private final CausalLm.DecodingWeights weights;
    private final List<Sample> samples = new ArrayList<>();
    private final int vocabulary = model.decoder().spec().vocabularySize();

    /** What stands in each slot; a slot whose sample is finished runs on until it is dropped. */
    private Sample[] slots;

    private TensorScope scope;
    private Tensor seen;

    private Batch(List<PromptRow> prompts, Plan plan, CausalLm.DecodingWeights weights) {
      this.prompts = prompts;
      this.plan = plan;
      this.weights = weights;
      for (PromptRow prompt : prompts) {
        for (int number = 0; number < plan.samples(); number++) {
          samples.add(new Sample(prompt, number));
        }
      }
      this.slots = samples.toArray(Sample[]::new);
    }

    private List<List<Response>> run() {
      try (TensorScope batch = model.torch().scope()) {
        scope = batch;
        DecodingCache cache;
        Tensor tokens;
        try (TensorScope step = scope.child()) {
          Decoder.Prefill prefill =
              model
                  .decoder()
                  .prefill(
                      step, TokenBatch.ofLastTokens(prompts.stream().map(PromptRow::ids).toList()));
          int[] lengths = prompts.stream().mapToInt(prompt -> prompt.ids().length).toArray();
          markPrompts(step);
          int[] promptOfSlot = new int[slots.length];
          Arrays.setAll(promptOfSlot, slot -> slot / plan.samples());
          Tensor ofPrompts = model.head().logits(step, prefill.hidden(), weights.ofHead());
          tokens = scope.keep(pick(step, sampler.rows(step, ofPrompts, promptOfSlot)));
          // Last, since it is closed only by what follows.
          cache =
              model.decoder().startDecoding(prefill, lengths, plan.samples(), weights.ofBlocks());
        }
        try (cache) {
          while (Arrays.stream(slots).anyMatch(slot -> slot.finishReason == null)) {
            try (TensorScope step = scope.child()) {
              Tensor kept = dropFinished(step, cache, tokens);
              Tensor hidden = cache.step(step, kept);
              Tensor next = pick(step, model.head().logits(step, hidden, weights.ofHead()));
              tokens.close();
              tokens = scope.keep(next);
            }
          }
        }
      }
      return collected();
    }

    private List<List<Response>> collected() {
      List<List<Response>> responses = new ArrayList<>();
      for (int p = 0; p < prompts.size(); p++) {
        List<Response> ofPrompt = new ArrayList<>();
        for (int number = 0; number < plan.samples(); number++) {
          ofPrompt.add(samples.get(p * plan.samples() + number).response());
        }
        responses.add(ofPrompt);
      }
      return responses;
    }

    /** Picks a token for every slot, and tells the samples that are still growing. */
    private Tensor pick(TensorScope step, Tensor logits) {
      float[] uniforms = new float[slots.length];
      if (config.doSample()) {
        for (int slot = 0; slot < slots.length; slot++) {
          uniforms[slot] = (float) slots[slot].uniform(plan);
        }
      }
      Tensor context = seen == null ? step.zeros(0) : seen;
      Sampler.Picked picked =
          sampler.pick(step, logits, new Sampler.Constraints(context, banned()), uniforms);
      if (seen != null) {
        sampler.mark(seen, picked.tokens());
      }
      long[] ids = picked.tokens().toLongs();
      float[] logProbs = picked.logProbs().toFloats();
      for (int slot = 0; slot < slots.length; slot++) {
        if (slots[slot].finishReason == null) {
          if (!Float.isFinite(logProbs[slot])) {
            throw RlhfException.nonFinite(
                "prompt "
                    + slots[slot].prompt.index()
                    + ": the model computes no distribution for token "
                    + slots[slot].ids.size()
                    + " of a response: its logits are not finite, or every token is ruled out");
          }
          slots[slot].append((int) ids[slot], logProbs[slot]);
        }
      }
      return picked.tokens();
    }

    private long[] banned() {
      List<Long> places = new ArrayList<>();
      for (int slot = 0; slot < slots.length; slot++) {
        Sample sample = slots[slot];
        long row = (long) slot * vocabulary;
        boolean tooEarly = sample.ids.size() < config.minNewTokens() && !config.ignoreEos();
        if (config.suppressEos() || tooEarly) {
          for (int eos : eosIds) {
            places.add(row + eos);
          }
        }
        if (config.noRepeatNgramSize() > 0 && sample.finishReason == null) {
          for (int repeated : sample.repeating()) {
            places.add(row + repeated);
          }
        }
      }
      return places.stream().mapToLong(Long::longValue).toArray();
    }

    private void markPrompts(TensorScope step) {
      if (config.repetitionPenalty() == 1) {
        return;
      }
      seen = scope.zeros(slots.length, vocabulary);
      List<Long> places = new ArrayList<>();
      for (int slot = 0; slot < slots.length; slot++) {
        for (int id : slots[slot].prompt.ids()) {
          places.add((long) slot * vocabulary + id);
        }
      }
      sampler.markAll(step, seen, places.stream().mapToLong(Long::longValue).toArray());
    }

    /** Drops finished samples once that makes the batch clearly smaller. */
    private Tensor dropFinished(TensorScope step, DecodingCache cache, Tensor tokens) {
      List<Integer> keptPrompts = new ArrayList<>();
      List<List<Integer>> growing = new ArrayList<>();
      for (int p = 0; p * cache.samples() < slots.length; p++) {
        List<Integer> ofPrompt = new ArrayList<>();
        for (int slot = p * cache.samples(); slot < (p + 1) * cache.samples(); slot++) {
          if (slots[slot].finishReason == null) {
            ofPrompt.add(slot);
          }
        }
        if (!ofPrompt.isEmpty()) {
          keptPrompts.add(p);
          growing.add(ofPrompt);
        }
      }
      int most = growing.stream().mapToInt(List::size).max().orElseThrow();
      if (growing.size() * most > SMALLER_ENOUGH * slots.length) {
        return tokens;
      }
      int[] kept = new int[growing.size() * most];
      for (int g = 0; g < growing.size(); g++) {
        List<Integer> ofPrompt = growing.get(g);
        for (int i = 0; i < most; i++) {
          // Prompts with fewer growing samples fill up with one of them, whose result is not used.
          kept[g * most + i] = ofPrompt.get(Math.min(i, ofPrompt.size() - 1));
        }
      }
      cache.keep(keptPrompts.stream().mapToInt(Integer::intValue).toArray(), kept);
      Sample[] next = new Sample[kept.length];
      for (int slot = 0; slot < kept.length; slot++) {
        boolean repeated = slot % most > 0 && kept[slot] == kept[slot - 1];
        next[slot] = repeated ? new Sample(slots[kept[slot]].prompt, 0) : slots[kept[slot]];
        if (repeated) {
          next[slot].finishReason = FinishReason.LENGTH;
        }
      }
      slots = next;
      if (seen != null) {
        Tensor moved = scope.keep(sampler.rows(step, seen, kept));
        seen.close();
        seen = moved;
      }
      return sampler.rows(step, tokens, kept);
    }
  }

  @Override
  public void close() {
    sampler.close();
  }
}
