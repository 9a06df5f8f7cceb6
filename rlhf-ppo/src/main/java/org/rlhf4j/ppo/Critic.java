package org.rlhf4j.ppo;

import java.util.List;
import org.rlhf4j.core.model.Branch;
import org.rlhf4j.core.model.Decoder;
import org.rlhf4j.core.model.Decoder.Recording;
import org.rlhf4j.core.model.Gradients;
import org.rlhf4j.core.model.RewardModel;
import org.rlhf4j.core.model.TokenBatch;
import org.rlhf4j.core.model.ValueHead;
import org.rlhf4j.core.model.Weights;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;

/** The forms of a value network. Values belong to a batch's selected positions. */
sealed interface Critic extends AutoCloseable {

  /**
   * What a critic may read of a batch.
   *
   * @param hidden the policy's last hidden states at the selected positions
   * @param states that enter the critic's branch, of every token; null for critics without one
   */
  record Reads(TokenBatch batch, Tensor hidden, Tensor states) {}

  /**
   * Values, and the way back.
   *
   * @param values {@code [selected]}
   * @param pass of the critic's own blocks; null for critics without
   * @param hidden what its head read
   */
  record Recorded(float[] values, Decoder.Pass pass, Tensor hidden) {}

  /**
   * The gradient of what a critic read of the policy.
   *
   * @param ofHidden d loss / d hidden; null where nothing flows back
   * @param ofStates d loss / d states; null where nothing flows back
   */
  record OfReads(Tensor ofHidden, Tensor ofStates) {
    static final OfReads NONE = new OfReads(null, null);
  }

  /** Values without a graph, {@code [selected]}. */
  float[] values(TensorScope scope, Reads reads);

  /** Values with a graph. */
  Recorded record(TensorScope scope, Reads reads, Recording recording);

  /**
   * Adds the gradients of the critic's own weights.
   *
   * @param ofValues d loss / d value, {@code [selected]}
   * @param into one for each of {@link #weights}
   */
  OfReads backward(TensorScope scope, Recorded recorded, float[] ofValues, List<Gradients> into);

  /** What it trains: its branch or model first. */
  List<Weights> weights();

  @Override
  void close();

  /** A head on the policy's last hidden states. */
  record Head(ValueHead head) implements Critic {
    @Override
    public float[] values(TensorScope scope, Reads reads) {
      return head.values(scope, reads.hidden());
    }

    @Override
    public Recorded record(TensorScope scope, Reads reads, Recording recording) {
      return new Recorded(head.values(scope, reads.hidden()), null, reads.hidden());
    }

    @Override
    public OfReads backward(
        TensorScope scope, Recorded recorded, float[] ofValues, List<Gradients> into) {
      return new OfReads(head.backward(scope, recorded.hidden(), ofValues, into.get(0)), null);
    }

    @Override
    public List<Weights> weights() {
      return List.of(head.weights());
    }

    @Override
    public void close() {
      head.close();
    }
  }

  /**
   * A head on blocks of its own.
   *
   * @param flowsBack whether the states that the branch reads come from trained blocks
   */
  record OnBranch(Branch branch, ValueHead head, boolean flowsBack) implements Critic {
    @Override
    public float[] values(TensorScope scope, Reads reads) {
      return head.values(scope, pass(scope, reads, Recording.NONE).hidden());
    }

    private Decoder.Pass pass(TensorScope scope, Reads reads, Recording recording) {
      Decoder.Start start = new Decoder.Start(branch.firstLayer(), reads.states(), flowsBack);
      return branch.decoder().forward(scope, reads.batch(), start, recording);
    }

    @Override
    public Recorded record(TensorScope scope, Reads reads, Recording recording) {
      Decoder.Pass pass = pass(scope, reads, recording);
      return new Recorded(head.values(scope, pass.hidden()), pass, pass.hidden());
    }

    @Override
    public OfReads backward(
        TensorScope scope, Recorded recorded, float[] ofValues, List<Gradients> into) {
      Tensor ofHidden = head.backward(scope, recorded.hidden(), ofValues, into.get(1));
      Decoder.OfPass read = new Decoder.OfPass(ofHidden, 0, null);
      return new OfReads(
          null, branch.decoder().backward(scope, recorded.pass(), read, into.get(0)));
    }

    @Override
    public List<Weights> weights() {
      return List.of(branch.weights(), head.weights());
    }

    @Override
    public void close() {
      head.close();
      branch.close();
    }
  }

  /** A model of its own. */
  record Separate(RewardModel model) implements Critic {
    @Override
    public float[] values(TensorScope scope, Reads reads) {
      return model.scores(reads.batch());
    }

    @Override
    public Recorded record(TensorScope scope, Reads reads, Recording recording) {
      Decoder.Pass pass = model.decoder().forward(scope, reads.batch(), recording);
      return new Recorded(model.head().scores(scope, pass.hidden()), pass, pass.hidden());
    }

    @Override
    public OfReads backward(
        TensorScope scope, Recorded recorded, float[] ofValues, List<Gradients> into) {
      Tensor ofHidden = model.head().backward(scope, recorded.hidden(), ofValues, into.get(0));
      model.decoder().backward(scope, recorded.pass(), ofHidden, into.get(0));
      return OfReads.NONE;
    }

    @Override
    public List<Weights> weights() {
      return List.of(model.trained());
    }

    @Override
    public void close() {
      model.close();
    }
  }
}
