package org.rlhf4j.core.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.TreeSet;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.testing.TinyFamilies;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Torch;

/**
 * What is trained of a policy whose top block is: for ALL_BUT_TOKENS what trlX's {@code
 * freeze_bottom_causal_layers} leaves (golden/algorithms/trlx_models/report.json), for ALL what its
 * versions until v0.6 leave, which freeze blocks only.
 */
class EmbeddingTrainingTest {
  @TempDir Path temporary;

  @ParameterizedTest
  @CsvSource({
    "gpt2, NONE, transformer.h., transformer.ln_f.weight transformer.ln_f.bias lm_head.weight",
    "gpt2, ALL_BUT_TOKENS, transformer.h., transformer.ln_f.weight transformer.ln_f.bias"
        + " transformer.wpe.weight",
    "gpt2, ALL, transformer.h., transformer.ln_f.weight transformer.ln_f.bias"
        + " transformer.wpe.weight transformer.wte.weight",
    "opt, NONE, model.decoder.layers., model.decoder.final_layer_norm.weight"
        + " model.decoder.final_layer_norm.bias lm_head.weight",
    "opt, ALL_BUT_TOKENS, model.decoder.layers., model.decoder.final_layer_norm.weight"
        + " model.decoder.final_layer_norm.bias model.decoder.embed_positions.weight",
    "opt, ALL, model.decoder.layers., model.decoder.final_layer_norm.weight"
        + " model.decoder.final_layer_norm.bias model.decoder.embed_positions.weight"
        + " model.decoder.embed_tokens.weight",
    "bloom, NONE, transformer.h., transformer.ln_f.weight transformer.ln_f.bias lm_head.weight",
    "bloom, ALL_BUT_TOKENS, transformer.h., transformer.ln_f.weight transformer.ln_f.bias"
        + " transformer.word_embeddings_layernorm.weight"
        + " transformer.word_embeddings_layernorm.bias",
    "bloom, ALL, transformer.h., transformer.ln_f.weight transformer.ln_f.bias"
        + " transformer.word_embeddings_layernorm.weight"
        + " transformer.word_embeddings_layernorm.bias transformer.word_embeddings.weight",
    "gpt_neox, ALL_BUT_TOKENS, gpt_neox.layers., gpt_neox.final_layer_norm.weight"
        + " gpt_neox.final_layer_norm.bias embed_out.weight",
    "gptj, ALL_BUT_TOKENS, transformer.h., transformer.ln_f.weight transformer.ln_f.bias"
        + " lm_head.weight lm_head.bias"
  })
  void whatIsTrained(String family, EmbeddingTraining embeddings, String blocks, String others)
      throws IOException {
    ModelFolder start = ModelFolder.open(TinyFamilies.causalLm(temporary, family, 1));
    try (Torch torch = Torch.open("cpu");
        Hydra hydra =
            ModelLoader.hydra(
                torch,
                start,
                new ModelLoader.Options(ElementType.FP32, true),
                new ModelLoader.Split(1, embeddings, true))) {
      List<String> names =
          hydra.policy().trained().parameters().stream().map(ParameterSpec::name).toList();
      TreeSet<String> found = new TreeSet<>(names);
      assertEquals(names.size(), found.size());
      List<String> inBlocks = names.stream().filter(name -> name.startsWith(blocks)).toList();
      assertTrue(inBlocks.stream().allMatch(name -> name.startsWith(blocks + "1.")), "" + inBlocks);
      long ofTop =
          start.tensorNames().stream().filter(name -> name.startsWith(blocks + "1.")).count();
      assertEquals(ofTop, inBlocks.size());
      inBlocks.forEach(found::remove);
      assertEquals(new TreeSet<>(Arrays.asList(others.split(" "))), found);
      boolean moves = others.contains("embed_positions") || others.contains("embeddings");
      moves |= others.contains("wpe");
      assertEquals(!moves, hydra.isTrunkFrozen());
    }
  }
}
