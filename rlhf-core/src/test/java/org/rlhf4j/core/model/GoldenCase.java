package org.rlhf4j.core.model;

import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.checkpoint.SafetensorsFile;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.data.TokenPair;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.model.Decoder.Recording;
import org.rlhf4j.core.testing.Shared;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;

/**
 * A model folder of the golden files with what Hugging Face computed for it. A case is a folder: a
 * new one is found by itself.
 */
record GoldenCase(Path folder, SafetensorsFile tensors, JsonNode facts) {
  private static final JsonMapper JSON = new JsonMapper();

  /** All folders whose family is supported. */
  static Stream<GoldenCase> all(ModelHead head) throws IOException {
    List<GoldenCase> found = new ArrayList<>();
    for (Path folder : Shared.folders("golden/models")) {
      Path config = folder.resolve("config.json");
      if (Files.exists(config)) {
        JsonNode json = JSON.readTree(config.toFile());
        boolean supported = ModelFamilies.supports(json.path("model_type").asText());
        boolean reward =
            json.path("architectures").path(0).asText().endsWith("SequenceClassification");
        if (supported && reward == (head == ModelHead.SEQUENCE_CLASSIFICATION)) {
          found.add(
              new GoldenCase(
                  folder,
                  SafetensorsFile.open(folder.resolve("golden.safetensors")),
                  JSON.readTree(folder.resolve("golden.json").toFile())));
        }
      }
    }
    assertTrue(!found.isEmpty());
    return found.stream();
  }

  String name() {
    return folder.getFileName().toString();
  }

  @Override
  public String toString() {
    return name();
  }

  CausalLm causalLm(Torch torch, ElementType type) {
    return ModelLoader.causalLm(
        torch, ModelFolder.open(folder), new ModelLoader.Options(type, true));
  }

  RewardModel rewardModel(Torch torch, ElementType type) {
    return ModelLoader.rewardModel(
        torch, ModelFolder.open(folder), new ModelLoader.Options(type, true), 0);
  }

  /** The rows without padding. */
  List<int[]> rows() {
    return rows("input_ids", "lengths");
  }

  private List<int[]> rows(String ids, String lengths) {
    long[] flat = tensors.readLongs(ids);
    long[] length = tensors.readLongs(lengths);
    int width = flat.length / length.length;
    List<int[]> rows = new ArrayList<>();
    for (int b = 0; b < length.length; b++) {
      int[] row = new int[(int) length[b]];
      for (int t = 0; t < row.length; t++) {
        row[t] = (int) flat[b * width + t];
      }
      rows.add(row);
    }
    return rows;
  }

  /** The rows with every token a target. */
  List<TokenRow> everyTarget() {
    return rows().stream().map(TokenRow::allTargets).toList();
  }

  /** The rows with the targets that the loss was computed on. */
  List<TokenRow> labelled() {
    List<int[]> rows = rows();
    List<int[]> labels = rows("labels", "lengths");
    List<TokenRow> documents = new ArrayList<>();
    for (int b = 0; b < rows.size(); b++) {
      boolean[] targets = new boolean[rows.get(b).length];
      for (int t = 1; t < targets.length; t++) {
        targets[t] = labels.get(b)[t] != -100;
      }
      documents.add(new TokenRow(rows.get(b), targets));
    }
    return documents;
  }

  List<PromptRow> prompts() {
    List<PromptRow> prompts = new ArrayList<>();
    for (int[] row : rows()) {
      prompts.add(new PromptRow(prompts.size(), "", row));
    }
    return prompts;
  }

  List<TokenPair> pairs() {
    List<int[]> chosen = rows("chosen_ids", "chosen_lengths");
    List<int[]> rejected = rows("rejected_ids", "rejected_lengths");
    List<TokenPair> pairs = new ArrayList<>();
    for (int p = 0; p < chosen.size(); p++) {
      pairs.add(
          new TokenPair(
              TokenRow.allTargets(chosen.get(p)), TokenRow.allTargets(rejected.get(p)), 0));
    }
    return pairs;
  }

  /**
   * What was stored at the first {@code length - shorter} positions of each row.
   *
   * @param name of a tensor {@code [rows, width - shorter, …]}
   */
  List<float[]> perRow(String name, int shorter) {
    float[] flat = tensors.readFloats(name);
    List<int[]> rows = rows();
    int perPosition = flat.length / rows.size() / (int) tensors.info(name).shape()[1];
    List<float[]> found = new ArrayList<>();
    for (int b = 0; b < rows.size(); b++) {
      int from = b * (flat.length / rows.size());
      int count = (rows.get(b).length - shorter) * perPosition;
      found.add(Arrays.copyOfRange(flat, from, from + count));
    }
    return found;
  }

  /** The tokens that greedy search found. */
  List<int[]> greedy(String kind) {
    JsonNode stored = facts.path("generation").path(kind);
    JsonNode rows = stored.isArray() ? stored : stored.path("new_tokens");
    List<int[]> tokens = new ArrayList<>();
    for (JsonNode row : rows) {
      JsonNode ids = row.isArray() ? row : row.path("new_tokens");
      tokens.add(JSON.convertValue(ids, int[].class));
    }
    return tokens;
  }

  /** Logits at every position of every row, all rows in one batch. */
  static List<float[]> logits(CausalLm model, List<int[]> rows) {
    try (TensorScope scope = model.torch().scope()) {
      List<TokenRow> documents = new ArrayList<>();
      for (int[] row : rows) {
        int[] longer = Arrays.copyOf(row, row.length + 1);
        documents.add(TokenRow.allTargets(longer));
      }
      TokenBatch batch = TokenBatch.ofTargets(documents);
      Tensor hidden = model.decoder().forward(scope, batch, Recording.NONE).hidden();
      float[] flat = model.head().logits(scope, hidden).toFloats();
      int vocabulary = model.decoder().spec().vocabularySize();
      List<float[]> result = new ArrayList<>();
      int from = 0;
      for (int[] row : rows) {
        result.add(Arrays.copyOfRange(flat, from, from + row.length * vocabulary));
        from += row.length * vocabulary;
      }
      return result;
    }
  }

  /** Adds the gradients of the mean over all targets; returns that mean. */
  double lossAndGradients(CausalLm model, Recording recording, Gradients into) {
    TokenBatch batch = TokenBatch.ofTargets(labelled());
    int targets = batch.targets().length;
    float[] logProbs =
        model
            .addGradients(
                batch,
                found -> {
                  float[] d = new float[targets];
                  Arrays.fill(d, -1f / targets);
                  return d;
                },
                recording,
                into,
                false)
            .logProbs();
    double loss = 0;
    for (float logProb : logProbs) {
      loss -= logProb / (double) targets;
    }
    return loss;
  }

  /** What a pass over the pairs found: scores of chosen, rejected, chosen, …, and their loss. */
  record Pairwise(float[] scores, double loss) {}

  /** Adds the gradients of the mean of {@code -log sigmoid(chosen - rejected)}. */
  Pairwise pairwise(RewardModel model, boolean sharePrefix, Gradients into) {
    int pairs = pairs().size();
    double[] loss = {0};
    float[] scores =
        model.addGradients(
            TokenBatch.ofPairs(pairs(), sharePrefix),
            found -> {
              float[] d = new float[found.length];
              for (int p = 0; p < pairs; p++) {
                double gap = found[2 * p] - found[2 * p + 1];
                loss[0] += Math.log1p(Math.exp(-gap)) / pairs;
                double slope = -1 / (1 + Math.exp(gap)) / pairs;
                d[2 * p] = (float) slope;
                d[2 * p + 1] = (float) -slope;
              }
              return d;
            },
            Recording.FULL,
            into);
    return new Pairwise(scores, loss[0]);
  }

  /** The stored scores of the pairs: chosen, rejected, chosen, … */
  float[] pairScores() {
    float[] chosen = tensors.readFloats("chosen_rewards");
    float[] rejected = tensors.readFloats("rejected_rewards");
    float[] alternating = new float[2 * chosen.length];
    for (int p = 0; p < chosen.length; p++) {
      alternating[2 * p] = chosen[p];
      alternating[2 * p + 1] = rejected[p];
    }
    return alternating;
  }

  /** The stored norm of a parameter's gradient. */
  double gradientNorm(ParameterSpec parameter) {
    // transformers 5 calls GPT-NeoX's head so, but stores it under its old name.
    String name = parameter.name().equals("embed_out.weight") ? "lm_head.weight" : parameter.name();
    return facts.path("grad_norms").path(name).asDouble(Double.NaN);
  }
}
