package org.rlhf4j.core.text;

/**
 * Token ids with the characters that each of them came from.
 *
 * @param ids the token ids, all arrays have their length
 * @param starts first UTF-16 index of each token in the encoded text, {@link #NO_SPAN} for a token
 *     that the tokenizer added by itself (BOS, EOS)
 * @param ends UTF-16 index after each token's last character, {@link #NO_SPAN} likewise
 */
public record EncodedText(int[] ids, int[] starts, int[] ends) {
  /** The offset of tokens that stand for no character of the text. */
  public static final int NO_SPAN = -1;
}
