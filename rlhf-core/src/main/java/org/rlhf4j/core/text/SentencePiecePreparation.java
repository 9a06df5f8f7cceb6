package org.rlhf4j.core.text;

import java.util.BitSet;
import java.util.function.Function;

/**
 * Normalizes the sections of a text as SentencePiece does.
 *
 * @param normalizer SentencePiece's rules
 * @param prefixed whether a text gets a space in front
 * @param sectionsAlone whether each section counts as a text of its own, which transformers calls
 *     legacy, or else only the first as the beginning of one
 * @param parting what keeps the engine from joining characters; null where nothing needs to
 */
record SentencePiecePreparation(
    SentencePieceNormalizer normalizer, boolean prefixed, boolean sectionsAlone, Parting parting)
    implements Preparation {

  /**
   * A token that only parts what stands on both of its sides and is no part of the result.
   *
   * @param name its secret name
   * @param places behind which characters of a normalized text it goes
   */
  record Parting(String name, Function<PlacedText, BitSet> places) {}

  @Override
  public void append(PlacedText section, boolean first, PlacedText out) {
    boolean beginsText = sectionsAlone || first;
    boolean withPrefix = prefixed && beginsText;
    if (parting == null) {
      normalizer.normalize(section, beginsText, withPrefix, out);
      return;
    }
    PlacedText normalized = new PlacedText();
    normalizer.normalize(section, beginsText, withPrefix, normalized);
    BitSet places = parting.places().apply(normalized);
    for (int i = 0; i < normalized.length(); i++) {
      out.append(normalized.codePoint(i), normalized.start(i), normalized.end(i));
      if (places.get(i)) {
        out.append(parting.name(), normalized.end(i), normalized.end(i));
      }
    }
  }

  /**
   * The first characters of all names of byte pieces, such as {@code <0x0A>}. In a text each is six
   * characters, but the engine's unigram model would take it for the byte.
   */
  static BitSet byteNames(PlacedText text) {
    BitSet places = new BitSet();
    for (int i = 0; i < text.length(); i++) {
      places.set(i, isByteName(text, i));
    }
    return places;
  }

  private static boolean isByteName(PlacedText text, int from) {
    return from + 6 <= text.length()
        && text.codePoint(from) == '<'
        && text.codePoint(from + 1) == '0'
        && text.codePoint(from + 2) == 'x'
        && isHexDigit(text.codePoint(from + 3))
        && isHexDigit(text.codePoint(from + 4))
        && text.codePoint(from + 5) == '>';
  }

  private static boolean isHexDigit(int codePoint) {
    return (codePoint >= '0' && codePoint <= '9') || (codePoint >= 'A' && codePoint <= 'F');
  }
}
