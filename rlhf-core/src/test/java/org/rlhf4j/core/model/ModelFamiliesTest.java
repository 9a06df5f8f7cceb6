package org.rlhf4j.core.model;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.checkpoint.SafetensorsWriter;
import org.rlhf4j.core.checkpoint.StoredType;
import org.rlhf4j.core.checkpoint.TensorSource;
import org.rlhf4j.core.testing.Shared;

class ModelFamiliesTest {
  private static final ObjectMapper MAPPER = new ObjectMapper();
  private static final String SMALL =
      """
      {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 5,
       "hidden_size": 4, "intermediate_size": 6, "num_hidden_layers": 1,
       "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 16,
       "rms_norm_eps": 1e-05, "rope_theta": 500.0}
      """;

  private final LlamaFamily llama = new LlamaFamily();

  @TempDir Path folder;

  private ObjectNode small;

  @BeforeEach
  void parseSmall() {
    small = parse(SMALL);
  }

  static ObjectNode parse(String json) {
    try {
      return (ObjectNode) MAPPER.readTree(json);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(e);
    }
  }

  private static ModelFamilies.Model golden(String name) {
    return ModelFamilies.of(ModelFolder.open(Shared.path("golden/models/" + name)));
  }

  private static DecoderSpec plain(boolean attentionBias, boolean mlpBias) {
    return llama(97, 32, 48, 3, 4, 2, 8, 64, 1e-5, rope(10000), attentionBias, mlpBias, false);
  }

  private static DecoderSpec llama(
      int vocabulary,
      int hidden,
      int inner,
      int layers,
      int heads,
      int keyValueHeads,
      int headDim,
      int maxPositions,
      double epsilon,
      Rope rope,
      boolean attentionBias,
      boolean mlpBias,
      boolean tied) {
    return new DecoderSpec(
        "llama",
        vocabulary,
        hidden,
        layers,
        maxPositions,
        new AttentionSpec(
            heads,
            keyValueHeads,
            headDim,
            1 / Math.sqrt(headDim),
            new AttentionSpec.Projections(
                AttentionSpec.Layout.APART, attentionBias, attentionBias, false),
            0,
            AttentionSpec.Reach.FULL),
        new MlpSpec(inner, MlpSpec.Activation.SILU, MlpSpec.Gate.APART, mlpBias),
        new NormSpec(NormSpec.Kind.RMS, epsilon, true),
        Residual.NORM_BEFORE,
        whole(rope, headDim),
        new EmbeddingSpec(hidden, 1, false),
        new LmHeadSpec(tied, false, 0),
        false);
  }

  private static Positions whole(Rope rope, int headDim) {
    return new Positions.Rotary(rope, headDim, false);
  }

  private static Rope rope(double theta) {
    return new Rope(theta, new Rope.Unscaled());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"llama-gqa", "llama-sharded", "llama-bf16-checkpoint", "llama-fp16-checkpoint"})
  void readsThePlainGoldenFolders(String name) {
    ModelFamilies.Model model = golden(name);
    assertEquals(plain(false, false), model.spec());
    assertEquals(ModelHead.CAUSAL_LM, model.head());
    assertEquals(3 * 9 + 3, model.parameters().size());
  }

  @Test
  void readsTheSpecialGoldenFolders() {
    assertEquals(plain(true, true), golden("llama-bias").spec());
    assertEquals(3 * (9 + 7) + 3, golden("llama-bias").parameters().size());
    assertEquals(
        llama(
            97,
            32,
            48,
            3,
            2,
            1,
            16,
            256,
            1e-5,
            new Rope(500, new Rope.Llama3(8, 1, 4, 32)),
            false,
            false,
            false),
        golden("llama3-rope").spec());
    assertEquals(
        whole(new Rope(10000, new Rope.Linear(2)), 8),
        golden("llama-linear-rope").spec().positions());
    DecoderSpec legacy = golden("llama-tied-legacy").spec();
    assertEquals(llama(97, 32, 48, 3, 4, 4, 8, 64, 1e-5, rope(500), false, false, true), legacy);
    assertEquals(List.of(), llama.headParameters(legacy, ModelHead.CAUSAL_LM));
    ModelFamilies.Model reward = golden("llama-reward");
    assertEquals(ModelHead.SEQUENCE_CLASSIFICATION, reward.head());
    assertEquals(
        List.of(ParameterSpec.weight("score.weight", 1, 32)),
        llama.headParameters(reward.spec(), reward.head()));
  }

  /** This folder's configuration has no architectures: its tensors tell. */
  @Test
  void aScoreHeadShowsInTheTensors() {
    Path path = Shared.path("golden/algorithms/lmflow_rm/model");
    ModelFamilies.Model model = ModelFamilies.of(ModelFolder.open(path));
    assertEquals(ModelHead.SEQUENCE_CLASSIFICATION, model.head());
    assertEquals(whole(rope(10000), model.spec().attention().headDim()), model.spec().positions());
    assertEquals(1e-6, model.spec().norm().epsilon());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "models/tinystories-260k",
        "golden/hh-reward",
        "golden/algorithms/trlx_models/llama/policy0"
      })
  void readsTheOtherLlamaFolders(String path) {
    ModelFolder folder = ModelFolder.open(Shared.path(path));
    assertDoesNotThrow(() -> ModelFamilies.of(folder));
  }

  @Test
  void bothStylesOfConfigurationSayTheSame() {
    ObjectNode newStyle = small.deepCopy();
    newStyle.remove("rope_theta");
    newStyle.put("dtype", "float32");
    ObjectNode parameters = newStyle.putObject("rope_parameters");
    parameters.put("rope_theta", 500.0).put("rope_type", "linear").put("factor", 2.0);
    ObjectNode oldStyle = small.deepCopy().put("torch_dtype", "float32");
    oldStyle.putObject("rope_scaling").put("type", "linear").put("factor", 2.0);
    Path file = Path.of("config.json");
    assertEquals(llama.read(newStyle, file), llama.read(oldStyle, file));
    assertEquals(
        whole(new Rope(500, new Rope.Linear(2)), 2), llama.read(oldStyle, file).positions());
  }

  @Test
  void theDefaultsAreHuggingFaces() {
    small.remove(List.of("num_key_value_heads", "rms_norm_eps", "rope_theta"));
    small.remove("max_position_embeddings");
    assertEquals(
        llama(5, 4, 6, 1, 2, 2, 2, 2048, 1e-6, rope(10000), false, false, false),
        llama.read(small, Path.of("config.json")));
  }

  @Test
  void parametersComeInTheDecodersOrder() {
    DecoderSpec spec = llama(5, 4, 6, 1, 2, 1, 3 * 2, 16, 1e-5, rope(1e4), true, true, false);
    String layer = "model.layers.0.";
    List<ParameterSpec> expected =
        List.of(
            ParameterSpec.weight("model.embed_tokens.weight", 5, 4),
            ParameterSpec.undecayed(layer + "input_layernorm.weight", 4),
            ParameterSpec.weight(layer + "self_attn.q_proj.weight", 12, 4),
            ParameterSpec.weight(layer + "self_attn.k_proj.weight", 6, 4),
            ParameterSpec.weight(layer + "self_attn.v_proj.weight", 6, 4),
            ParameterSpec.undecayed(layer + "self_attn.q_proj.bias", 12),
            ParameterSpec.undecayed(layer + "self_attn.k_proj.bias", 6),
            ParameterSpec.undecayed(layer + "self_attn.v_proj.bias", 6),
            ParameterSpec.weight(layer + "self_attn.o_proj.weight", 4, 12),
            ParameterSpec.undecayed(layer + "self_attn.o_proj.bias", 4),
            ParameterSpec.undecayed(layer + "post_attention_layernorm.weight", 4),
            ParameterSpec.weight(layer + "mlp.gate_proj.weight", 6, 4),
            ParameterSpec.weight(layer + "mlp.up_proj.weight", 6, 4),
            ParameterSpec.undecayed(layer + "mlp.gate_proj.bias", 6),
            ParameterSpec.undecayed(layer + "mlp.up_proj.bias", 6),
            ParameterSpec.weight(layer + "mlp.down_proj.weight", 4, 6),
            ParameterSpec.undecayed(layer + "mlp.down_proj.bias", 4),
            ParameterSpec.undecayed("model.norm.weight", 4));
    assertEquals(expected, llama.parameters(spec));
    assertEquals(
        List.of(ParameterSpec.weight("lm_head.weight", 5, 4)),
        llama.headParameters(spec, ModelHead.CAUSAL_LM));
  }

  /** The golden traces say which parameters Hugging Face's trainer decays. */
  @Test
  void weightDecayLeavesOutNormsAndBiases() throws IOException {
    ModelFamilies.Model model = golden("llama-gqa");
    Path trace = Shared.path("golden/models/llama-gqa/trace-sft-linear.json");
    var decayed = new TreeSet<String>();
    MAPPER.readTree(trace.toFile()).at(DECAYED).forEach(name -> decayed.add(name.textValue()));
    assertEquals(
        decayed,
        model.parameters().stream()
            .filter(ParameterSpec::weightDecay)
            .map(ParameterSpec::name)
            .collect(Collectors.toCollection(TreeSet::new)));
  }

  private static final String DECAYED = "/weight_decay_on";

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "hidden_act | \"mish\" | hidden_act = \"mish\" is not supported, supported: silu",
        "pretraining_tp | 2 | pretraining_tp = 2 is not supported",
        "partial_rotary_factor | 0.5 | partial_rotary_factor = 0.5 is not supported",
        "quantization_config | {\"bits\": 4} | quantization_config = {\"bits\":4} is not supported",
        "sliding_window | 4096 | sliding_window = 4096 is not supported",
        "rope_interleaved | true | rope_interleaved = true is not supported",
        "logit_scale | 0.5 | logit_scale = 0.5 is not known",
        "vocab_size | \"97\" | vocab_size must be an integer, found \"97\"",
        "vocab_size | null | vocab_size is missing",
        "vocab_size | 0 | vocab_size must be positive, got 0",
        "hidden_size | 4.5 | hidden_size must be an integer, found 4.5",
        "hidden_size | 7 | hidden_size must be a multiple of num_attention_heads",
        "hidden_size | 6 | head_dim must be even, got 3",
        "num_attention_heads | 0 | hidden_size must be a multiple of num_attention_heads",
        "num_key_value_heads | 3 | num_attention_heads must be a multiple of num_key_value_heads",
        "num_hidden_layers | 2000000000 | num_hidden_layers must be at most 10000",
        "head_dim | 5 | head_dim must be even, got 5",
        "rms_norm_eps | -1 | rms_norm_eps must be 0 or more",
        "rms_norm_eps | \"1e-5\" | rms_norm_eps must be a number",
        "attention_bias | 1 | attention_bias must be true or false, found 1",
        "rope_theta | 0 | rope_theta must be a positive number",
        "rope_scaling | 2 | rope_scaling must be an object, found 2",
        "rope_scaling | {\"type\": \"dynamic\", \"factor\": 2} | rope_scaling.type = \"dynamic\" is not supported, supported: default, linear, llama3",
        "rope_scaling | {\"type\": \"linear\"} | rope_scaling.factor is missing",
        "rope_scaling | {\"type\": \"linear\", \"factor\": 0} | factor must be a positive number",
        "rope_scaling | {\"type\": \"linear\", \"rope_type\": \"llama3\"} | rope_scaling.type = \"linear\" is not supported",
        "rope_scaling | {\"rope_type\": \"default\", \"beta_fast\": 2} | rope_scaling.beta_fast = 2 is not known",
        "rope_parameters | {\"rope_theta\": 1.0} | rope_theta = 500.0 is not supported",
        "rope_parameters | {\"partial_rotary_factor\": 0.25} | rope_parameters.partial_rotary_factor = 0.25",
      })
  void anUnsupportedValueIsNamed(String key, String value, String expected) {
    small.set(key, parse("{\"v\":" + value + "}").get("v"));
    Path file = Path.of("some/config.json");
    RlhfException error = assertThrows(RlhfException.class, () -> llama.read(small, file));
    assertEquals(ExitCode.INPUT, error.exitCode());
    assertTrue(error.getMessage().startsWith(file + ": "), error.getMessage());
    assertTrue(error.getMessage().contains(expected), error.getMessage());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "model_type | \"mamba\" | model_type \"mamba\" is not supported, supported: llama",
        "model_type | null | model_type null is not supported",
        "architectures | [\"LlamaModel\"] | architectures [\"LlamaModel\"] is not supported, supported: one of LlamaForCausalLM, LlamaForSequenceClassification",
        "architectures | [] | architectures [] is not supported",
        "architectures | \"LlamaForCausalLM\" | is not supported",
      })
  void anUnknownModelIsNamed(String key, String value, String expected) {
    small.set(key, parse("{\"v\":" + value + "}").get("v"));
    Path file = Path.of("config.json");
    RlhfException error = assertThrows(RlhfException.class, () -> ModelFamilies.of(small, file));
    assertTrue(error.getMessage().contains(expected), error.getMessage());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{} | neither id2label nor num_labels",
        "{\"num_labels\": 2} | num_labels is 2",
        "{\"id2label\": {\"0\": \"a\", \"1\": \"b\"}} | id2label has 2 labels",
        "{\"id2label\": {\"0\": \"a\"}, \"num_labels\": 3} | num_labels is 3",
        "{\"num_labels\": 1} | ",
        "{\"id2label\": {\"0\": \"a\"}} | ",
      })
  void aRewardModelHasOneLabel(String labels, String expected) {
    small.setAll(parse(labels));
    small.putArray("architectures").add("LlamaForSequenceClassification");
    Path file = Path.of("config.json");
    if (expected == null) {
      assertEquals(ModelHead.SEQUENCE_CLASSIFICATION, ModelFamilies.of(small, file).head());
    } else {
      RlhfException error = assertThrows(RlhfException.class, () -> ModelFamilies.of(small, file));
      assertTrue(error.getMessage().contains(expected), error.getMessage());
    }
  }

  /** A model folder with random-free weights that a test may then spoil. */
  private ModelFolder write(UnaryOperator<List<TensorSource>> change) throws IOException {
    Files.writeString(folder.resolve("config.json"), small.toString());
    ModelFamilies.Model model = ModelFamilies.of(small, folder.resolve("config.json"));
    List<TensorSource> tensors = new ArrayList<>();
    for (ParameterSpec parameter : model.parameters()) {
      tensors.add(tensor(parameter.name(), 0.5f, parameter.shape()));
    }
    SafetensorsWriter.writeModel(folder, change.apply(tensors));
    return ModelFolder.open(folder);
  }

  private static TensorSource tensor(String name, float value, long... shape) {
    return TensorSource.floats(
        name,
        StoredType.F32,
        shape,
        (from, target) -> {
          while (target.hasRemaining()) {
            target.put(value);
          }
        });
  }

  private static UnaryOperator<List<TensorSource>> replace(String name, TensorSource... by) {
    return tensors -> {
      tensors.removeIf(tensor -> tensor.name().equals(name));
      tensors.addAll(List.of(by));
      return tensors;
    };
  }

  private void assertRefused(UnaryOperator<List<TensorSource>> change, String expected)
      throws IOException {
    ModelFolder written = write(change);
    RlhfException error = assertThrows(RlhfException.class, () -> ModelFamilies.of(written));
    assertEquals(ExitCode.INPUT, error.exitCode());
    assertTrue(error.getMessage().contains(expected), error.getMessage());
  }

  @Test
  void tensorsAreHeldAgainstTheConfiguration() throws IOException {
    assertDoesNotThrow(() -> ModelFamilies.of(write(UnaryOperator.identity())));
    String norm = "model.norm.weight";
    assertRefused(replace(norm), "tensor model.norm.weight is missing");
    assertRefused(
        replace(norm, tensor(norm, 1, 2, 2)),
        "tensor model.norm.weight has shape [2, 2], expected [4]");
    assertRefused(
        replace(norm, TensorSource.longs(norm, new long[] {4}, new long[4])),
        "tensor model.norm.weight has type I64, expected F32, F16 or BF16");
    assertRefused(replace("", tensor("x", 1, 1)), "tensor x is not part of this model");
    assertRefused(replace("", tensor("x", 1, 1), tensor("y", 1, 1)), "and 1 more are");
  }

  @Test
  void buffersAndATiedCopyMayBeThere() throws IOException {
    small.put("tie_word_embeddings", true);
    TensorSource buffer = tensor("model.layers.0.self_attn.rotary_emb.inv_freq", 1, 1);
    TensorSource copy = tensor("lm_head.weight", 0.5f, 5, 4);
    ModelFolder written = write(replace("", buffer, copy));
    assertDoesNotThrow(() -> ModelFamilies.of(written));
    assertRefused(
        replace("", tensor("lm_head.weight", 0.25f, 5, 4)),
        "tensor lm_head.weight differs from model.embed_tokens.weight");
    assertRefused(
        replace("", tensor("lm_head.weight", 0.5f, 4, 5)),
        "tensor lm_head.weight differs from model.embed_tokens.weight");
  }
}
