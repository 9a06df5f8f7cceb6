package org.rlhf4j.ppo.rollout;

import java.util.ArrayList;
import java.util.List;
import org.rlhf4j.core.model.CausalLm;
import org.rlhf4j.core.model.Hydra;
import org.rlhf4j.core.model.ModelSize;
import org.rlhf4j.core.model.ParameterSpec;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.report.Format;

/** What networks there are, what is shared and what is trained. */
public record NetworkTable(List<Line> lines) {
  /** The line for the frozen blocks that only the reference has. */
  public static final String TOP_OF_REFERENCE = "reference, its top";

  /**
   * A part.
   *
   * @param layers in words
   * @param trained whether its weights change
   */
  public record Line(String part, String layers, long parameters, boolean trained) {}

  /** The lines of policy and reference. */
  public static NetworkTable of(Hydra hydra) {
    CausalLm reference = hydra.reference();
    CausalLm trained = hydra.policy();
    int layers = reference.decoder().spec().layers();
    int trunk = hydra.trunkLayers();
    long all = count(reference.weights().parameters());
    long policy = count(trained.trained().parameters());
    List<Line> lines = new ArrayList<>();
    if (trained.adapter() != null) {
      lines.add(
          new Line("model, shared; without adapters the reference", range(0, layers), all, false));
      lines.add(new Line("policy's adapters", range(0, layers), policy, true));
    } else {
      if (!hydra.isTrunkShared()) {
        lines.add(new Line("reference", range(0, layers), all, false));
        lines.add(
            new Line(
                "policy, its frozen part",
                "embeddings" + (trunk > 0 ? ", " + range(0, trunk) : ""),
                count(trained.weights().parameters()),
                false));
      } else if (trunk > 0) {
        long own = policy;
        if (!trained.decoder().spec().equals(reference.decoder().spec())) {
          // The head of the policy is a copy of the embedding, which the reference's top has not.
          own -= reference.weights().parameters().get(0).elements();
        }
        long moving = count(hydra.trainedEmbeddings());
        own -= moving;
        if (moving > 0) {
          lines.add(new Line("trunk's trained embeddings, as in trlX", "", moving, true));
        }
        policy -= moving;
        lines.add(
            new Line(
                "trunk, shared by all",
                "embeddings, " + range(0, trunk),
                all - own - moving,
                false));
        lines.add(new Line(TOP_OF_REFERENCE, range(trunk, layers), own, false));
      } else {
        lines.add(new Line("reference", range(0, layers), all, false));
      }
      lines.add(
          new Line(
              trunk > 0 || !hydra.isTrunkShared() ? "policy, its top" : "policy",
              range(trunk, layers),
              policy,
              true));
    }
    return new NetworkTable(lines);
  }

  /** Layers in words, the last not included. */
  public static String range(int from, int to) {
    return from + 1 == to ? "layer " + from : "layers " + from + " to " + (to - 1);
  }

  /** The numbers in some parameters. */
  public static long count(List<ParameterSpec> parameters) {
    return parameters.stream().mapToLong(ParameterSpec::elements).sum();
  }

  /** The sums over all parts. */
  public ModelSize size() {
    return new ModelSize(
        lines.stream().mapToLong(Line::parameters).sum(),
        lines.stream().filter(Line::trained).mapToLong(Line::parameters).sum());
  }

  /** Shows the table to the user. */
  public void show(Console console) {
    console.table(
        "networks",
        List.of("part", "layers", "parameters", "trainable"),
        lines.stream()
            .map(
                line ->
                    List.of(
                        line.part(),
                        line.layers(),
                        Format.count(line.parameters()),
                        line.trained() ? "yes" : "no"))
            .toList());
  }
}
