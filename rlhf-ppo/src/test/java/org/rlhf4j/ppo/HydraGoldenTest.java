package org.rlhf4j.ppo;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.checkpoint.SafetensorsFile;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.model.Decoder.Recording;
import org.rlhf4j.core.model.TokenBatch;
import org.rlhf4j.core.model.Weights;
import org.rlhf4j.core.testing.Shared;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;
import org.rlhf4j.ppo.rollout.Floats;

/**
 * Policy, reference and values against what trlX's own classes computed, before and after the
 * policy's trained blocks moved.
 */
class HydraGoldenTest {
  /** Of forward values, as the golden files' README has it. */
  private static final double TOLERANCE = 1e-5;

  /** What trlX computed for some rows with padding on either side. */
  private record Golden(
      Path folder, SafetensorsFile expected, List<int[]> rows, List<int[]> places) {

    static Golden of(String architecture) {
      Path folder = Shared.path("golden/algorithms/trlx_models/" + architecture);
      SafetensorsFile expected = SafetensorsFile.open(folder.resolve("expected.safetensors"));
      long[] shape = expected.info("input_ids").shape();
      int width = (int) shape[1];
      long[] ids = expected.readLongs("input_ids");
      long[] mask = expected.readLongs("attention_mask");
      List<int[]> rows = new ArrayList<>();
      List<int[]> places = new ArrayList<>();
      for (int row = 0; row < shape[0]; row++) {
        int from = row * width;
        int[] real =
            java.util.stream.IntStream.range(from, from + width)
                .filter(i -> mask[i] == 1)
                .toArray();
        places.add(real);
        rows.add(Arrays.stream(real).map(i -> (int) ids[i]).toArray());
      }
      return new Golden(folder, expected, rows, places);
    }

    TokenBatch batch() {
      return TokenBatch.ofTargets(rows.stream().map(TokenRow::allTargets).toList());
    }

    /** Of a tensor {@code [rows, width]}, the numbers at the positions before a real token. */
    double[] atTargets(String name) {
      float[] all = expected.readFloats(name);
      return places.stream()
          .flatMapToInt(real -> Arrays.stream(real, 0, real.length - 1))
          .mapToDouble(place -> all[place])
          .toArray();
    }

    /** Of logits {@code [rows, width, words]}, the log-probabilities of the next real tokens. */
    double[] logProbs(String name) {
      float[] all = expected.readFloats(name);
      int words = (int) expected.info(name).shape()[2];
      List<Double> found = new ArrayList<>();
      for (int row = 0; row < rows.size(); row++) {
        for (int t = 0; t + 1 < rows.get(row).length; t++) {
          int from = places.get(row)[t] * words;
          double sum = 0;
          for (int word = 0; word < words; word++) {
            sum += Math.exp(all[from + word]);
          }
          found.add(all[from + rows.get(row)[t + 1]] - Math.log(sum));
        }
      }
      return found.stream().mapToDouble(Double::doubleValue).toArray();
    }
  }

  private static PpoNetworks load(Torch torch, Golden golden, ValueNetwork value, int valueLayers) {
    return PpoNetworks.load(
        torch,
        ModelFolder.open(golden.folder().resolve("policy0")),
        new PpoNetworks.Options(
            ElementType.FP32, null, 1, 2, value, valueLayers, null, 1, Recording.FULL));
  }

  /** Overwrites the trained weights that a file has under a prefix before their names. */
  private static int fill(
      Torch torch, Weights weights, SafetensorsFile file, String from, String to) {
    int filled = 0;
    for (int i = 0; i < weights.parameters().size(); i++) {
      String name = weights.parameters().get(i).name();
      String stored = name.startsWith(from) ? to + name.substring(from.length()) : name;
      if (file.contains(stored)) {
        try (TensorScope scope = torch.scope()) {
          Weights.fill(
              torch.ops(),
              scope,
              weights.masters().get(i),
              (start, target) -> file.readFloats(stored, start, target));
        }
        filled++;
      }
    }
    weights.followMasters();
    return filled;
  }

  private static void assertClose(double[] expected, float[] found, String what) {
    Numbers.assertGolden(expected, Floats.wide(found), TOLERANCE, what);
  }

  @ParameterizedTest
  @ValueSource(strings = {"gpt2", "llama", "gpt_neox", "bloom", "gptj", "opt"})
  void theHeadReadsThePolicyAndTheReferenceStaysWhereItWas(String architecture) {
    Golden golden = Golden.of(architecture);
    try (Torch torch = Torch.open("cpu");
        PpoNetworks networks = load(torch, golden, ValueNetwork.POLICY_HEAD, 0)) {
      Weights head = networks.trained(1).get(1).weights();
      assertEquals(4, fill(torch, head, golden.expected(), "", ""));
      float[] before = networks.referenceFingerprint();

      PpoNetworks.Scored scored = networks.score(golden.batch(), null);
      assertClose(golden.logProbs("logits"), scored.logProbs(), "policy");
      assertClose(golden.logProbs("hydra_logits"), scored.referenceLogProbs(), "reference");
      assertClose(golden.atTargets("values"), scored.values(), "values");
      assertArrayEquals(scored.logProbs(), scored.referenceLogProbs(), "equal at the start");

      movePolicy(torch, golden, networks);
      PpoNetworks.Scored moved = networks.score(golden.batch(), null);
      assertClose(golden.logProbs("logits_perturbed"), moved.logProbs(), "policy, moved");
      assertClose(golden.atTargets("values_perturbed"), moved.values(), "values, moved");
      assertArrayEquals(scored.referenceLogProbs(), moved.referenceLogProbs());
      assertArrayEquals(before, networks.referenceFingerprint());
      assertFalse(Arrays.equals(scored.logProbs(), moved.logProbs()));
    }
  }

  private static void movePolicy(Torch torch, Golden golden, PpoNetworks networks) {
    SafetensorsFile moved = SafetensorsFile.open(golden.folder().resolve("policy1.safetensors"));
    int filled = fill(torch, networks.policy().trained(), moved, "", "");
    assertEquals(moved.tensors().size(), filled, "all that moved is trained");
  }

  @ParameterizedTest
  @ValueSource(strings = {"gpt2", "llama", "gpt_neox", "bloom", "gptj", "opt"})
  void theBranchOfThePolicyIsThatOfTrlx(String architecture) {
    Golden golden = Golden.of(architecture);
    try (Torch torch = Torch.open("cpu")) {
      for (int layers = 1; layers <= 2; layers++) {
        try (PpoNetworks networks = load(torch, golden, ValueNetwork.POLICY_HEAD, layers)) {
          String name = "value_branch_" + layers;
          Weights head = networks.trained(1).get(2).weights();
          assertEquals(4, fill(torch, head, golden.expected(), "v_head.", name + ".lm_head."));
          float[] values = networks.score(golden.batch(), null).values();
          assertClose(golden.atTargets(name + ".values"), values, name);
          movePolicy(torch, golden, networks);
          float[] moved = networks.score(golden.batch(), null).values();
          assertClose(golden.atTargets(name + ".values_perturbed"), moved, name + ", moved");
        }
      }
    }
  }

  /** At first both kinds of branch compute the same; only trlX's follows the policy. */
  @ParameterizedTest
  @ValueSource(strings = {"gpt2", "llama"})
  void theBranchOfTheReferenceDoesNotFollowThePolicy(String architecture) {
    Golden golden = Golden.of(architecture);
    try (Torch torch = Torch.open("cpu");
        PpoNetworks networks = load(torch, golden, ValueNetwork.REFERENCE_BRANCH, 1)) {
      Weights head = networks.trained(1).get(2).weights();
      fill(torch, head, golden.expected(), "v_head.", "value_branch_1.lm_head.");
      float[] values = networks.score(golden.batch(), null).values();
      assertClose(golden.atTargets("value_branch_1.values"), values, "values");
      movePolicy(torch, golden, networks);
      assertArrayEquals(values, networks.score(golden.batch(), null).values());
      assertTrue(
          networks.table().lines().stream().anyMatch(line -> line.part().equals("value branch")));
    }
  }
}
