package org.rlhf4j.core.model;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.AdapterFolder;
import org.rlhf4j.core.checkpoint.ModelFolder;

/** PEFT's {@code adapter_config.json}. */
final class AdapterConfig {
  private static final String CAUSAL_LM = "CAUSAL_LM";
  private static final String SEQ_CLS = "SEQ_CLS";

  /** Keys that do not change what an adapter computes, or only together with others. */
  private static final Set<String> HARMLESS =
      Set.of(
          AdapterFolder.BASE_KEY,
          "arrow_config",
          "auto_mapping",
          "corda_config",
          "ensure_weight_tying",
          "eva_config",
          "inference_mode",
          "layers_pattern",
          "loftq_config",
          "lora_ga_config",
          "megatron_config",
          "megatron_core",
          "peft_version",
          "qalora_group_size",
          "revision",
          "runtime_config");

  /** Ways of drawing A that leave the model's weights as they are. */
  private static final List<String> PLAIN_STARTS =
      List.of("true", "false", "gaussian", "orthogonal", "eva");

  private AdapterConfig() {}

  /** What an adapter's configuration says. */
  static LoraSpec read(AdapterFolder adapter, DecoderSpec spec) {
    JsonNode config = adapter.config();
    Path file = adapter.configFile();
    ConfigReader reader = new ConfigReader(config, file, "");
    if (!reader.textOr("peft_type", "").equals("LORA")) {
      throw reader.unsupported("peft_type", "\"LORA\"");
    }
    if (!reader.textOr("bias", "none").equals("none")) {
      throw reader.unsupported("bias", "\"none\"");
    }
    if (reader.has("init_lora_weights")
        && !PLAIN_STARTS.contains(config.get("init_lora_weights").asText())) {
      throw reader.unsupported("init_lora_weights", String.join(", ", PLAIN_STARTS));
    }
    if (reader.flagOr("fan_in_fan_out", false) != spec.transposed()) {
      throw reader.unsupported("fan_in_fan_out", spec.transposed() + " for this model");
    }
    reader.has("task_type");
    LoraSpec lora =
        new LoraSpec(
            reader.requireInt("r"),
            reader.requireNumber("lora_alpha"),
            reader.numberOr("lora_dropout", 0),
            targets(reader, config),
            reader.flagOr("use_rslora", false),
            reader.texts("modules_to_save"));
    if (lora.rank() < 1) {
      throw reader.unsupported("r", "1 or more");
    }
    if (!(lora.dropout() >= 0 && lora.dropout() < 1)) {
      throw reader.unsupported("lora_dropout", "at least 0 and less than 1");
    }
    reader.refuseSetOthers(HARMLESS);
    return lora;
  }

  private static List<String> targets(ConfigReader reader, JsonNode config) {
    if (config.path("target_modules").isTextual()) {
      if (!reader.textOr("target_modules", "").equals(LoraSpec.ALL_LINEAR)) {
        throw reader.unsupported(
            "target_modules", "a list of names, or \"" + LoraSpec.ALL_LINEAR + "\"");
      }
      return List.of(LoraSpec.ALL_LINEAR);
    }
    return reader.texts("target_modules");
  }

  /**
   * The head of a model with an adapter: the adapter's task says it, else the model.
   *
   * @param base the model without the adapter
   */
  static ModelHead head(AdapterFolder adapter, ModelFamilies.Model base) {
    ConfigReader reader = new ConfigReader(adapter.config(), adapter.configFile(), "");
    String task = reader.textOr("task_type", "");
    ModelHead head =
        switch (task) {
          case "" -> base.head();
          case CAUSAL_LM -> ModelHead.CAUSAL_LM;
          case SEQ_CLS -> ModelHead.SEQUENCE_CLASSIFICATION;
          default -> throw reader.unsupported("task_type", CAUSAL_LM + ", " + SEQ_CLS);
        };
    if (head == ModelHead.CAUSAL_LM && base.head() != head) {
      throw RlhfException.input(
          adapter.configFile()
              + ": task_type is "
              + CAUSAL_LM
              + ", but the model in "
              + adapter.base()
              + " is a reward model");
    }
    return head;
  }

  /**
   * The configuration of an adapter as PEFT reads it.
   *
   * @param start the model's folder, or that of an adapter on it
   */
  static ObjectNode write(Adapter adapter, ModelFolder start, ModelHead head) {
    LoraSpec lora = adapter.spec();
    ObjectNode config = new JsonMapper().createObjectNode();
    config.putObject("alpha_pattern");
    config.putNull("auto_mapping");
    config.put(AdapterFolder.BASE_KEY, start.basePath().toAbsolutePath().normalize().toString());
    config.put("bias", "none");
    config.put("fan_in_fan_out", adapter.layout().model().spec().transposed());
    config.put("inference_mode", true);
    config.put("init_lora_weights", true);
    if (lora.alpha() == Math.rint(lora.alpha())) {
      config.put("lora_alpha", (long) lora.alpha());
    } else {
      config.put("lora_alpha", lora.alpha());
    }
    config.put("lora_dropout", lora.dropout());
    if (lora.modulesToSave().isEmpty()) {
      config.putNull("modules_to_save");
    } else {
      put(config.putArray("modules_to_save"), lora.modulesToSave());
    }
    config.put("peft_type", "LORA");
    config.put("r", lora.rank());
    config.putObject("rank_pattern");
    config.putNull("revision");
    put(config.putArray("target_modules"), lora.targetModules());
    config.put("task_type", head == ModelHead.CAUSAL_LM ? CAUSAL_LM : SEQ_CLS);
    config.put("use_dora", false);
    config.put("use_rslora", lora.rankStabilized());
    return config;
  }

  private static void put(ArrayNode array, List<String> names) {
    names.forEach(array::add);
  }
}
